#include "runtime/io/json/sealed_json.h"

#include <string_view>

#include "runtime/base/error.h"
#include "runtime/io/digest/xxh3.h"
#include "runtime/io/json/strict_json.h"

namespace trireme {

using nlohmann::json;

namespace {

constexpr std::string_view kBegin = "{\"xxh3\":\"", kEnd = "\",\n";
constexpr size_t kDigits = 32;
constexpr size_t kFirstLine = kBegin.size() + kDigits + kEnd.size();
constexpr int kSealedDepth = 12;

}  // namespace

std::string seal_json(const json& object) {
  TRIREME_CHECK(object.is_object() && !object.empty() && !object.contains("xxh3"));
  // What is no UTF-8 (a path) is replaced.
  const std::string rest = object.dump(-1, ' ', false, json::error_handler_t::replace).substr(1) + "\n";
  return fmt::format("{}{}{}{}", kBegin, to_string(xxh3_128(rest)), kEnd, rest);
}

json open_sealed_json(const std::string& text, const std::string& path) {
  const std::string_view all = text;
  const bool has_line = all.size() > kFirstLine && all.starts_with(kBegin) &&
                        all.substr(kBegin.size() + kDigits, kEnd.size()) == kEnd;
  const auto stated = has_line ? parse_hash128(all.substr(kBegin.size(), kDigits)) : std::nullopt;
  if (!stated) {
    throw_user(ExitCode::checkpoint,
               "{} does not begin with {}32 hexadecimal digits\": it is damaged, or no file of a checkpoint",
               path, kBegin);
  }
  const Hash128 found = xxh3_128(all.substr(kFirstLine));
  if (found != *stated) {
    throw_user(ExitCode::checkpoint, "{} is damaged: its {} bytes have the XXH3-128 {}, \"xxh3\" says {}",
               path, text.size(), to_string(found), to_string(*stated));
  }
  json object = parse_strict_json(text, kSealedDepth, path);
  object.erase("xxh3");
  return object;
}

}  // namespace trireme

#include "runtime/io/json/json_file.h"

#include "runtime/base/error.h"
#include "runtime/io/digest/file_signs.h"
#include "runtime/io/files/file.h"

namespace trireme {

using nlohmann::json;

namespace {

// The parser quotes what it read last, which may be all of a file.
std::string shortened(std::string_view words) {
  constexpr size_t kHead = 160, kTail = 40;
  if (words.size() <= kHead + kTail) return std::string(words);
  return fmt::format("{} ... {}", words.substr(0, kHead), words.substr(words.size() - kTail));
}

}  // namespace

void refuse_zero_bytes(std::string_view text, const std::string& name) {
  // The parser takes it as the end of its input, wherever a token may begin.
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos)
    throw_bad_input("{} is not JSON at byte {} of {}: a zero byte", name, zero + 1, text.size());
}

void refuse_json(const json::exception& error, size_t size, const std::string& name) {
  if (const auto* at = dynamic_cast<const json::parse_error*>(&error))
    throw_bad_input("{} is not JSON at byte {} of {}: {}", name, at->byte, size, shortened(error.what()));
  // A number such as 1e999.
  throw_bad_input("{} cannot be read as JSON: {}", name, shortened(error.what()));
}

json parse_json(std::string_view text, const std::string& name) {
  refuse_zero_bytes(text, name);
  try {
    return json::parse(text);
  } catch (const json::exception& error) {
    refuse_json(error, text.size(), name);
  }
}

json read_json_file(const std::string& path) {
  const std::string text = read_text_file(path);
  if (const auto name = signature_of(text); !name.empty())
    throw_bad_input("{} is not JSON: it is {}", path, name);
  return parse_json(text, path);
}

const json& json_member(const json& object, const char* key, const std::string& name) {
  if (!object.is_object())
    throw_bad_input("{}: expected an object with \"{}\", found {}", name, key, object.type_name());
  const auto it = object.find(key);
  if (it == object.end()) throw_bad_input("{}: \"{}\" is missing", name, key);
  return *it;
}

int64_t json_index(const json& value, int64_t limit, std::string_view what, const std::string& name) {
  // Above int64 the value is stored unsigned; get<int64_t> would wrap it.
  const bool fits = value.is_number_integer() && (!value.is_number_unsigned() ||
                                                  value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX));
  const int64_t index = fits ? value.get<int64_t>() : -1;
  if (index < 0 || index >= limit) {
    throw_bad_input("{}: {} is {}; it must be an integer from 0 to {}", name, what,
                    value.is_primitive() ? value.dump() : value.type_name(), limit - 1);
  }
  return index;
}

const std::string& json_string(const json& value, std::string_view what, const std::string& name) {
  if (!value.is_string()) throw_bad_input("{}: {} must be a string, found {}", name, what, value.type_name());
  return value.get_ref<const std::string&>();
}

bool json_flag(const json& object, const char* key, bool fallback, const std::string& name) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return fallback;
  if (!it->is_boolean())
    throw_bad_input("{}: \"{}\" must be true or false, found {}", name, key, it->type_name());
  return it->get<bool>();
}

}  // namespace trireme

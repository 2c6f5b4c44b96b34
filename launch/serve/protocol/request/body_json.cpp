#include "launch/serve/protocol/request/body_json.h"

#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "launch/serve/protocol/api_error.h"
#include "runtime/io/json/utf8.h"

namespace trireme::launch {
namespace {

using nlohmann::ordered_json;
constexpr size_t kMostDeep = 100;

[[noreturn]] void refuse_body(const std::string& message) {
  throw ApiError{.message = message, .code = "invalid_json"};
}

/// Builds the value from the parser's events. The library's own objects look through all their members when
/// one is added; here a set of names does.
class BodyBuilder final : public nlohmann::json_sax<ordered_json> {
 public:
  ordered_json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // JSON text has none
  bool start_object(std::size_t) override { return open(ordered_json::object()); }
  bool start_array(std::size_t) override { return open(ordered_json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    if (!open_.back().names.insert(name).second)
      refuse_body(fmt::format("the body has \"{}\" twice in one object", name.substr(0, kMostQuoted)));
    auto& members = open_.back().value->get_ref<ordered_json::object_t&>();
    using Members = ordered_json::object_t::Container;
    static_cast<Members&>(members).emplace_back(std::move(name), nullptr);
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception& error) override {
    const std::string why = error.what();
    const size_t words = why.find(": ");  // after the library's number of the error and the place
    refuse_body(fmt::format("the body is not JSON at byte {}: {}", position == 0 ? 0 : position - 1,
                            why.substr(words == std::string::npos ? 0 : words + 2, kMostQuoted)));
  }

 private:
  static constexpr size_t kMostQuoted = 200;
  struct Open {
    ordered_json* value;
    std::unordered_set<std::string> names;
  };

  ordered_json* place(ordered_json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    ordered_json& parent = *open_.back().value;
    if (parent.is_object())
      return &(parent.get_ref<ordered_json::object_t&>().back().second = std::move(value));
    auto& list = parent.get_ref<ordered_json::array_t&>();
    list.push_back(std::move(value));
    return &list.back();
  }

  bool add(ordered_json value) {
    place(std::move(value));
    return true;
  }

  // Open values stay where they are: only the innermost grows.
  bool open(ordered_json value) {
    if (open_.size() == kMostDeep)
      refuse_body(fmt::format("the body is nested more than {} deep", kMostDeep));
    ordered_json* const opened = place(std::move(value));
    open_.push_back({opened, {}});
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  ordered_json root_;
  std::vector<Open> open_;
};

}  // namespace

ordered_json parse_body(std::string_view body) {
  if (const auto fault = find_utf8_error(body)) {
    refuse_body(fmt::format("the body is not UTF-8: byte 0x{:02X} at byte {}", fault->byte, fault->offset));
  }
  // The parser takes it as the end of its input, wherever a token may begin.
  if (const size_t zero = body.find('\0'); zero != std::string_view::npos)
    refuse_body(fmt::format("the body is not JSON at byte {}: a zero byte", zero));
  BodyBuilder builder;
  if (!ordered_json::sax_parse(body, &builder)) refuse_body("the body is not JSON");
  ordered_json json = builder.take();
  if (!json.is_object())
    refuse_body(fmt::format("the body is JSON, but of type {}; a request is an object", json.type_name()));
  return json;
}

}  // namespace trireme::launch

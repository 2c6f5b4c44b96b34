#include "runtime/io/json/strict_json.h"

#include <utility>
#include <vector>

#include "runtime/base/error.h"

namespace trireme {
namespace {

using nlohmann::json;

/// Builds the value from the parser's events.
class Builder final : public nlohmann::json_sax<json> {
 public:
  Builder(int max_depth, const std::string& path) : max_depth_(max_depth), path_(path) {}

  json take() { return std::move(root_); }
  const std::string& fault() const { return fault_; }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // JSON text has none
  bool start_object(std::size_t) override { return open(json::object()); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    const auto [member, is_new] = open_.back()->get_ref<json::object_t&>().emplace(std::move(name), nullptr);
    if (!is_new) throw_bad_input("{}: the header has \"{}\" twice", path_, member->first);
    member_ = &member->second;
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const json::exception& error) override {
    fault_ = error.what();
    return false;
  }

 private:
  json* place(json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    if (open_.back()->is_object()) return &(*member_ = std::move(value));
    auto& list = open_.back()->get_ref<json::array_t&>();
    list.push_back(std::move(value));
    return &list.back();
  }

  bool add(json value) {
    place(std::move(value));
    return true;
  }

  // Open values stay where they are: only the innermost grows.
  bool open(json value) {
    json* const opened = place(std::move(value));
    open_.push_back(opened);
    if (static_cast<int>(open_.size()) > max_depth_) {
      throw_bad_input("{}: the header is nested more than {} deep", path_, max_depth_);
    }
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  const int max_depth_;
  const std::string& path_;
  json root_;
  std::vector<json*> open_;
  json* member_ = nullptr;
  std::string fault_;
};

}  // namespace

json parse_strict_json(std::string_view text, int max_depth, const std::string& path) {
  // The parser takes it as the end of its input, wherever a token may begin.
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos) {
    throw_bad_input("{}: the header of {} bytes is not JSON: byte {} is zero", path, text.size(), zero);
  }
  Builder builder(max_depth, path);
  if (json::sax_parse(text, &builder)) return builder.take();
  constexpr size_t kMostQuoted = 300;
  throw_bad_input("{}: the header of {} bytes is not JSON: {}", path, text.size(),
                  builder.fault().substr(0, kMostQuoted));
}

}  // namespace trireme

// Members of JSON objects of checkpoints, each of one type, none unknown: errors name the file and the key.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "runtime/io/digest/xxh3.h"
#include "runtime/io/safetensors/safetensors.h"

namespace trireme {

/// A value in a JSON file and what it is called there.
class JsonPlace {
 public:
  JsonPlace(const nlohmann::json& value, const std::string& path, std::string key)
      : value_(value), path_(path), key_(std::move(key)) {}

  const nlohmann::json& value() const { return value_; }
  const std::string& key() const { return key_; }

  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    throw_user(ExitCode::checkpoint, "{}: \"{}\" {}", path_, key_,
               fmt::format(format, std::forward<Args>(args)...));
  }

  /// An integer in [least, most].
  int64_t integer(int64_t least = 0, int64_t most = std::numeric_limits<int64_t>::max()) const {
    const bool fits =
        value_.is_number_unsigned()
            ? value_.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())
            : value_.is_number_integer();
    if (!fits || value_.get<int64_t>() < least || value_.get<int64_t>() > most)
      refuse("is {}: expected an integer from {} to {}", shown(), least, most);
    return value_.get<int64_t>();
  }
  uint64_t unsigned_integer() const {
    if (!value_.is_number_unsigned()) refuse("is {}: expected an integer of 64 bits, not negative", shown());
    return value_.get<uint64_t>();
  }
  double number() const {
    if (!value_.is_number()) refuse("is {}: expected a number", shown());
    return value_.get<double>();
  }
  const std::string& text() const {
    if (!value_.is_string()) refuse("is {}: expected a string", shown());
    return value_.get_ref<const std::string&>();
  }
  Hash128 hash() const {
    const auto hash = parse_hash128(text());
    if (!hash) refuse("is {}: expected 32 hexadecimal digits", shown());
    return *hash;
  }
  /// The elements of a list, of `count` where that is not negative.
  std::vector<JsonPlace> list(int64_t count = -1) const {
    if (!value_.is_array() || (count >= 0 && std::ssize(value_) != count)) {
      refuse("is {}: expected a list{}", shown(), count >= 0 ? fmt::format(" of {} entries", count) : "");
    }
    std::vector<JsonPlace> out;
    out.reserve(value_.size());
    for (size_t i = 0; i < value_.size(); ++i)
      out.emplace_back(value_[i], path_, fmt::format("{}[{}]", key_, i));
    return out;
  }
  /// An object's members, whatever they are called.
  std::vector<std::pair<std::string, JsonPlace>> entries() const {
    if (!value_.is_object()) refuse("is {}: expected an object", shown());
    std::vector<std::pair<std::string, JsonPlace>> out;
    for (const auto& [name, value] : value_.items())
      out.emplace_back(name, JsonPlace(value, path_, key_.empty() ? name : fmt::format("{}.{}", key_, name)));
    return out;
  }
  TextMap texts() const {
    TextMap map;
    for (const auto& [name, place] : entries()) map.emplace(name, place.text());
    return map;
  }
  bool has(const char* name) const { return value_.is_object() && value_.contains(name); }
  JsonPlace at(const char* name) const {
    if (!value_.is_object()) refuse("is {}: expected an object", shown());
    const auto found = value_.find(name);
    if (found == value_.end()) refuse("has no \"{}\"", name);
    return {*found, path_, key_.empty() ? std::string(name) : fmt::format("{}.{}", key_, name)};
  }
  void allow_only(const std::set<std::string_view>& names) const {
    for (const auto& [name, place] : entries()) {
      if (!names.contains(name)) refuse("has \"{}\", which this version does not know", name);
    }
  }

 private:
  std::string shown() const {
    constexpr size_t kMost = 60;
    std::string text = value_.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    if (text.size() > kMost) text = text.substr(0, kMost) + "...";
    return text;
  }

  const nlohmann::json& value_;
  const std::string& path_;
  std::string key_;
};

}  // namespace trireme

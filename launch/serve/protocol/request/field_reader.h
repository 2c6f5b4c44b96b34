// FieldReader: members of a request's object, by type and range.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

namespace trireme::launch {

/// Every call throws an ApiError (400) that names the field, its value and what is allowed. null is absent.
class FieldReader {
 public:
  /// `object` outlives it; `prefix` stands before names in messages ("stream_options.").
  explicit FieldReader(const nlohmann::ordered_json& object, std::string prefix = "")
      : object_(object), prefix_(std::move(prefix)) {}

  /// Null where the field is absent or null.
  const nlohmann::ordered_json* find(const char* name) const;
  bool has(const char* name) const { return find(name) != nullptr; }

  bool boolean(const char* name, bool otherwise) const;
  int64_t integer(const char* name, int64_t otherwise, int64_t least, int64_t most) const;
  double number(const char* name, double otherwise, double least, double most) const;
  std::optional<std::string> string(const char* name) const;
  /// An object, or null where absent.
  const nlohmann::ordered_json* object(const char* name) const;

  std::string full(const char* name) const { return prefix_ + name; }
  [[noreturn]] void refuse_value(const char* name, const nlohmann::ordered_json& value,
                                 const std::string& allowed) const;

 private:
  const nlohmann::ordered_json& object_;
  std::string prefix_;
};

/// A value as messages show it: short, and strings of prompts not at all.
std::string shown_value(const nlohmann::ordered_json& value);

/// The integer that `value` is (16 or 16.0), if it is one.
std::optional<int64_t> integer_of(const nlohmann::ordered_json& value);

}  // namespace trireme::launch

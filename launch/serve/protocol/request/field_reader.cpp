#include "launch/serve/protocol/request/field_reader.h"

#include <cmath>

#include "launch/serve/protocol/api_error.h"

namespace trireme::launch {

using nlohmann::ordered_json;

std::string shown_value(const ordered_json& value) {
  constexpr size_t kLongest = 60;
  if (value.is_array()) return fmt::format("a list of {}", value.size());
  if (value.is_object()) return fmt::format("an object of {} members", value.size());
  std::string text = value.dump(-1, ' ', true);  // ASCII: may be cut anywhere
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

std::optional<int64_t> integer_of(const ordered_json& value) {
  if (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX) return std::nullopt;
  if (value.is_number_integer()) return value.get<int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  constexpr double kExact = 9007199254740992;  // 2^53
  const double number = value.get<double>();
  if (std::trunc(number) != number || std::abs(number) > kExact) return std::nullopt;
  return static_cast<int64_t>(number);
}

const ordered_json* FieldReader::find(const char* name) const {
  const auto at = object_.find(name);
  return at == object_.end() || at->is_null() ? nullptr : &*at;
}

void FieldReader::refuse_value(const char* name, const ordered_json& value,
                               const std::string& allowed) const {
  refuse(full(name), "\"{}\" is {}; allowed: {}", full(name), shown_value(value), allowed);
}

bool FieldReader::boolean(const char* name, bool otherwise) const {
  const ordered_json* value = find(name);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) refuse_value(name, *value, "true or false");
  return value->get<bool>();
}

int64_t FieldReader::integer(const char* name, int64_t otherwise, int64_t least, int64_t most) const {
  const ordered_json* value = find(name);
  if (value == nullptr) return otherwise;
  const auto number = integer_of(*value);
  if (!number || *number < least || *number > most)
    refuse_value(name, *value, fmt::format("an integer from {} to {}", least, most));
  return *number;
}

double FieldReader::number(const char* name, double otherwise, double least, double most) const {
  const ordered_json* value = find(name);
  if (value == nullptr) return otherwise;
  if (!value->is_number() || !(value->get<double>() >= least && value->get<double>() <= most))
    refuse_value(name, *value, fmt::format("a number from {} to {}", least, most));
  return value->get<double>();
}

std::optional<std::string> FieldReader::string(const char* name) const {
  const ordered_json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) refuse_value(name, *value, "a string");
  return value->get<std::string>();
}

const ordered_json* FieldReader::object(const char* name) const {
  const ordered_json* value = find(name);
  if (value != nullptr && !value->is_object()) refuse_value(name, *value, "an object");
  return value;
}

}  // namespace trireme::launch

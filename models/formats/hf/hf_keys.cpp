#include "models/formats/hf/hf_keys.h"

#include <cmath>

namespace trireme::hf {

std::string shown(const Json& value) {
  constexpr size_t kMost = 80;
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > kMost) text = text.substr(0, kMost) + "...";
  return text;
}

const Json* HfKeys::find(std::string_view key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void HfKeys::add(std::string_view key, const std::string& why) const {
  const auto found = object_.find(key);
  errors_.push_back(found == object_.end() ? fmt::format("{}{}: {}", prefix_, key, why)
                                           : fmt::format("{}{} {}: {}", prefix_, key, shown(*found), why));
}

int64_t HfKeys::whole(std::string_view key, int64_t absent, int64_t least) const {
  const Json* value = find(key);
  if (value == nullptr) return absent;
  if (value->is_number_integer()) {
    const auto number = value->get<int64_t>();
    const bool wraps = value->is_number_unsigned() && value->get<uint64_t>() > uint64_t{INT64_MAX};
    if (!wraps && number >= least && number <= kMostWhole) return number;
  }
  refuse(key, "a whole number from {} to {} was expected", least, kMostWhole);
  return absent;
}

double HfKeys::real(std::string_view key, double absent) const {
  const Json* value = find(key);
  if (value == nullptr) return absent;
  if (value->is_number() && std::isfinite(value->get<double>())) return value->get<double>();
  refuse(key, "a number was expected");
  return absent;
}

bool HfKeys::flag(std::string_view key, bool absent) const {
  const Json* value = find(key);
  if (value == nullptr) return absent;
  if (value->is_boolean()) return value->get<bool>();
  refuse(key, "true or false was expected");
  return absent;
}

std::string HfKeys::text(std::string_view key, std::string_view absent) const {
  const Json* value = find(key);
  if (value == nullptr) return std::string(absent);
  if (value->is_string()) return value->get<std::string>();
  refuse(key, "a string was expected");
  return std::string(absent);
}

const Json* HfKeys::list(std::string_view key, std::string_view of) const {
  const Json* value = find(key);
  if (value == nullptr || value->is_array()) return value;
  refuse(key, "a list of {} was expected", of);
  return nullptr;
}

std::optional<std::vector<double>> HfKeys::reals(std::string_view key) const {
  const Json* values = list(key, "numbers");
  if (values == nullptr) return std::nullopt;
  std::vector<double> numbers;
  for (const Json& value : *values) {
    if (!value.is_number() || !std::isfinite(value.get<double>())) {
      refuse(key, "a list of numbers was expected");
      return std::nullopt;
    }
    numbers.push_back(value.get<double>());
  }
  return numbers;
}

std::optional<std::vector<int64_t>> HfKeys::wholes(std::string_view key) const {
  const auto numbers = reals(key);
  if (!numbers) return std::nullopt;
  std::vector<int64_t> out;
  for (const double number : *numbers) {
    if (number != std::floor(number) || std::abs(number) > static_cast<double>(kMostWhole)) {
      refuse(key, "a list of whole numbers was expected");
      return std::nullopt;
    }
    out.push_back(static_cast<int64_t>(number));
  }
  return out;
}

std::optional<std::vector<std::string>> HfKeys::texts(std::string_view key) const {
  const Json* values = list(key, "strings");
  if (values == nullptr) return std::nullopt;
  std::vector<std::string> out;
  for (const Json& value : *values) {
    if (!value.is_string()) {
      refuse(key, "a list of strings was expected");
      return std::nullopt;
    }
    out.push_back(value.get<std::string>());
  }
  return out;
}

HfKeys HfKeys::of(std::string_view key) const {
  static const Json kNone = Json::object();
  const Json* value = find(key);
  if (value != nullptr && !value->is_object()) {
    refuse(key, "an object was expected");
    value = nullptr;
  }
  return {value == nullptr ? kNone : *value, errors_, fmt::format("{}{}.", prefix_, key)};
}

}  // namespace trireme::hf

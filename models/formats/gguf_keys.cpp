#include "models/formats/gguf_keys.h"

#include <charconv>
#include <cmath>
#include <type_traits>
#include <utility>

#include <fmt/ranges.h>

#include "runtime/base/error.h"

namespace trireme {

namespace {

constexpr int64_t kMostInteger = int64_t{1} << 40;
constexpr size_t kMostText = 60;

template <class T>
constexpr bool is_whole = std::is_integral_v<T> && !std::is_same_v<T, bool>;

template <class T>
constexpr bool is_list_of_whole = false;
template <class T>
constexpr bool is_list_of_whole<std::vector<T>> = is_whole<T>;

std::optional<int64_t> whole_in(const GgufValue& value) {
  return std::visit(
      []<class T>(const T& held) -> std::optional<int64_t> {
        if constexpr (is_whole<T>) {
          if (std::in_range<int64_t>(held)) return static_cast<int64_t>(held);
        } else if constexpr (is_list_of_whole<T>) {
          for (const auto& element : held) {
            if (element != held.front() || !std::in_range<int64_t>(element)) return std::nullopt;
          }
          if (!held.empty()) return static_cast<int64_t>(held.front());
        }
        return std::nullopt;
      },
      value);
}

/// 1e-05f is 1e-5, not 9.99999974738e-06.
double shortest(float value) {
  const std::string text = fmt::format("{}", value);
  double number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace

GgufKeys::GgufKeys(std::string path, const GgufMetadata& metadata, std::string_view architecture)
    : path_(std::move(path)), metadata_(metadata), prefix_(std::string(architecture) + ".") {}

const GgufValue* GgufKeys::find(std::string_view key) {
  const std::string whole = prefix_ + std::string(key);
  asked_.insert(whole);
  for (const auto& [name, value] : metadata_) {
    if (name == whole) return &value;
  }
  return nullptr;
}

void GgufKeys::refuse(std::string_view key, std::string_view why) {
  const GgufValue* value = find(key);
  throw_bad_input("{}: \"{}{}\" is {}: {}", path_, prefix_, key,
                  value == nullptr ? "missing" : value_text(*value, kMostText), why);
}

std::optional<int64_t> GgufKeys::integer(std::string_view key) {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  const std::optional<int64_t> number = whole_in(*value);
  if (!number || *number < 0 || *number > kMostInteger) {
    refuse(key, value->index() > GgufValue(double()).index()
                    ? "blocks of different sizes cannot be represented; all must be equal whole numbers"
                    : "a whole number from 0 to 2^40 is expected");
  }
  return number;
}

std::optional<int64_t> GgufKeys::period(std::string_view key) {
  const GgufValue* value = find(key);
  if (value == nullptr || value->index() > GgufValue(double()).index()) return std::nullopt;
  return integer(key);
}

std::optional<double> GgufKeys::real(std::string_view key) {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  std::optional<double> number;
  if (const auto* single = std::get_if<float>(value)) number = shortest(*single);
  if (const auto* wide = std::get_if<double>(value)) number = *wide;
  if (!number) {
    if (const auto whole = whole_in(*value)) number = static_cast<double>(*whole);
  }
  if (!number || !std::isfinite(*number)) refuse(key, "a finite number is expected");
  return number;
}

std::optional<std::string> GgufKeys::text(std::string_view key) {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  const auto* text = std::get_if<std::string>(value);
  if (text == nullptr) refuse(key, "a string is expected");
  return *text;
}

std::optional<bool> GgufKeys::flag(std::string_view key) {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  const auto* flag = std::get_if<bool>(value);
  if (flag == nullptr) refuse(key, "a flag is expected");
  return *flag;
}

std::optional<std::vector<bool>> GgufKeys::flags(std::string_view key) {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  return std::visit(
      [&]<class T>(const T& held) -> std::vector<bool> {
        if constexpr (std::is_same_v<T, std::vector<bool>> || is_list_of_whole<T>) {
          std::vector<bool> flags;
          for (const auto& element : held) flags.push_back(element != 0);
          return flags;
        } else {
          refuse(key, "a list of flags is expected");
        }
      },
      *value);
}

int64_t GgufKeys::need_integer(std::string_view key) {
  const auto value = integer(key);
  if (!value) refuse(key, "the model has no size without it");
  return *value;
}

double GgufKeys::need_real(std::string_view key) {
  const auto value = real(key);
  if (!value) refuse(key, "llama.cpp needs it");
  return *value;
}

void GgufKeys::refuse_unknown() {
  std::vector<std::string> unknown;
  for (const auto& [name, value] : metadata_) {
    if (name.starts_with(prefix_) && !asked_.contains(name))
      unknown.push_back(fmt::format("\"{}\" ({})", name, value_text(value, kMostText)));
  }
  if (!unknown.empty()) {
    throw_bad_input("{}: what the architecture's keys {} change cannot be represented", path_,
                    fmt::join(unknown, ", "));
  }
}

}  // namespace trireme

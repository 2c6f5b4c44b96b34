#include "runtime/io/gguf/gguf_value.h"

#include <algorithm>
#include <concepts>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trireme {

namespace {

constexpr std::string_view kScalarNames[] = {"u8",  "i8",   "u16",    "i16", "u32", "i32",
                                             "f32", "bool", "string", "u64", "i64", "f64"};
constexpr size_t kNumScalars = std::size(kScalarNames);

template <class T>
std::string scalar_text(const T& value, size_t most) {
  if constexpr (std::same_as<T, std::string>) {
    std::string shown =
        nlohmann::json(value.substr(0, most)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return value.size() > most ? fmt::format("{}... ({} bytes)", shown, value.size()) : shown;
  } else {
    return fmt::format("{}", value);
  }
}

template <class T>
std::string list_text(const std::vector<T>& list, size_t most) {
  std::string text = "[";
  size_t shown = 0;
  for (; shown < list.size() && text.size() < most; ++shown) {
    text += (shown > 0 ? ", " : "") + scalar_text<T>(list[shown], most);
  }
  return shown < list.size() ? fmt::format("{}, ...] ({} elements)", text, list.size()) : text + "]";
}

}  // namespace

std::string type_text(const GgufValue& value) {
  const size_t index = value.index();
  return index < kNumScalars ? std::string(kScalarNames[index])
                             : fmt::format("list of {}", kScalarNames[index - kNumScalars]);
}

std::string value_text(const GgufValue& value, size_t most) {
  return std::visit(
      [&]<class T>(const T& held) {
        if constexpr (kGgufValueType<T> == ~0u) {
          return list_text(held, most);
        } else {
          return scalar_text(held, most);
        }
      },
      value);
}

}  // namespace trireme

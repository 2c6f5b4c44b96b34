// Names of the values of an enum: written once, beside the enum, and read in both directions.
#pragma once

#include <concepts>
#include <optional>
#include <span>
#include <string_view>

namespace trireme {

template <class E>
struct EnumName {
  E value;
  std::string_view name;
};

/// An enum that takes part declares, in its namespace, `std::span<const EnumName<E>> names_of(E)`, which says
/// the same whatever the value it is called with.
template <class E>
concept NamedEnum = requires(E value) {
  { names_of(value) } -> std::same_as<std::span<const EnumName<E>>>;
};

/// Empty for what is no value of the enum.
template <NamedEnum E>
constexpr std::string_view to_string(E value) {
  for (const EnumName<E>& known : names_of(value)) {
    if (known.value == value) return known.name;
  }
  return {};
}

template <NamedEnum E>
constexpr std::optional<E> parse_enum(std::string_view name) {
  for (const EnumName<E>& known : names_of(E{})) {
    if (known.name == name) return known.value;
  }
  return std::nullopt;
}

}  // namespace trireme

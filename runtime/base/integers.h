// Divisions of whole numbers that are not negative.
#pragma once

#include <concepts>

namespace trireme {

/// n / unit, rounded up.
template <std::integral T>
constexpr T ceil_of(T n, T unit) {
  return (n + unit - 1) / unit;
}

/// The least multiple of unit that is not below n.
template <std::integral T>
constexpr T round_up(T n, T unit) {
  return ceil_of(n, unit) * unit;
}

}  // namespace trireme

// Nearest values that work, for error messages.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace trireme {

/// Of the numbers of [1, most] that fit (1 does) the nearest below or at x and the nearest at or above it:
/// "4" where they are one, or there is only the lower, else "3 or 4".
std::string nearest_that_fit(int64_t x, int64_t most, const std::function<bool(int64_t)>& fits);

/// The divisors of n >= 1 nearest to x. In time of the root of n, which may be any number of a user's.
std::string nearest_divisors(int64_t n, int64_t x);

/// The multiples of `unit` nearest to x, but 0: "120 or 130"; without the larger where it is above `most`,
/// and there is another.
std::string nearest_multiples(int64_t unit, int64_t x, int64_t most = INT64_MAX);

}  // namespace trireme

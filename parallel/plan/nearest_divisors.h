// For messages that name what would work.
#pragma once

#include <cstdint>
#include <string>

namespace trireme {

/// The divisors of n >= 1 nearest to x: "4" where x divides n, else "3 or 4".
std::string nearest_divisors(int64_t n, int64_t x);

}  // namespace trireme

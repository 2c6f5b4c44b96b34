#include "parallel/plan/nearest_divisors.h"

#include <algorithm>

#include <fmt/format.h>

namespace trireme {

std::string nearest_divisors(int64_t n, int64_t x) {
  int64_t below = 1, above = n;
  for (int64_t d = 1; d <= n / d; ++d) {  // n may be absurd: a user's number
    if (n % d != 0) continue;
    for (const int64_t divisor : {d, n / d}) {
      if (divisor <= x) below = std::max(below, divisor);
      if (divisor >= x) above = std::min(above, divisor);
    }
  }
  return x > n || below == above ? fmt::to_string(below) : fmt::format("{} or {}", below, above);
}

}  // namespace trireme

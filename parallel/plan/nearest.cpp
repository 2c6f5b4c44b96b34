#include "parallel/plan/nearest.h"

#include <algorithm>

#include <fmt/format.h>

namespace trireme {

namespace {

std::string one_or_two(int64_t below, int64_t above) {
  return below == above ? fmt::to_string(below) : fmt::format("{} or {}", below, above);
}

}  // namespace

std::string nearest_that_fit(int64_t x, int64_t most, const std::function<bool(int64_t)>& fits) {
  int64_t below = std::clamp<int64_t>(most, 1, x), above = x;
  while (!fits(below)) --below;
  while (above <= most && !fits(above)) ++above;
  return one_or_two(below, above > most ? below : above);
}

std::string nearest_divisors(int64_t n, int64_t x) {
  int64_t below = 1, above = n;
  for (int64_t d = 1; d <= n / d; ++d) {  // n may be absurd: a user's number
    if (n % d != 0) continue;
    for (const int64_t divisor : {d, n / d}) {
      if (divisor <= x) below = std::max(below, divisor);
      if (divisor >= x) above = std::min(above, divisor);
    }
  }
  return one_or_two(below, x > n ? below : above);
}

std::string nearest_multiples(int64_t unit, int64_t x, int64_t most) {
  const int64_t below = x / unit * unit, above = below + unit;
  if (below == 0) return fmt::to_string(above);
  return one_or_two(below, above > most ? below : above);
}

}  // namespace trireme

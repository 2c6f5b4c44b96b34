// How much of a sweep runs: a sample in CI, everything in tests/nightly.sh.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace trireme::test {

/// True where TRIREME_TEST_TIER is `whole`, false where it is `ci` or not set. Any other value ends the
/// program.
bool whole_tier();

/// True in CI's builds with a sanitizer: runs that repeat themselves may be short, since it looks at memory
/// and threads.
bool is_short_under_sanitizer();

/// TRIREME_TEST_SEED, which drawn cases begin at; 0 where it is not set. The main function prints it.
uint64_t test_seed();

/// `at_most` different numbers below `count` in ascending order; the same ones in every run and, for other
/// values of `salt`, others.
std::vector<size_t> draw_below(size_t count, size_t at_most, uint32_t salt);

/// All of `cases` in the whole tier, otherwise `at_most` of them (a third under a sanitizer), drawn once and
/// for all. Sweeps that sample the same cases for several kinds give each a `salt` of its own, so that all
/// together see more.
template <class T>
std::vector<T> sample(const std::vector<T>& cases, size_t at_most, uint32_t salt = 0) {
  if (whole_tier()) return cases;
  std::vector<T> out;
  if (is_short_under_sanitizer()) at_most = (at_most + 2) / 3;
  for (const size_t i : draw_below(cases.size(), at_most, salt)) out.push_back(cases[i]);
  return out;
}

}  // namespace trireme::test

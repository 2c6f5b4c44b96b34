// The one place that starts threads for arithmetic on the CPU.
#pragma once

#include <algorithm>
#include <cstdint>

#include <omp.h>

namespace trireme {

/// To be called once by a thread that will ask for teams of `num_threads`: throws UserError where
/// OMP_THREAD_LIMIT would give it fewer, and turns OMP_DYNAMIC off for it. Libraries divide their work by the
/// number they asked for.
void prepare_threads(int num_threads);

/// Calls body(begin, end) for contiguous ranges that cover [0, n), on at most `num_threads` threads of the
/// caller's own OpenMP team; no range but the last is shorter than `grain`. `body` must not throw. The ranges
/// depend on the number of threads: a body whose result is a sum across elements must use blocks of a fixed
/// size instead.
template <class Body>
void parallel_for(int num_threads, int64_t n, int64_t grain, Body&& body) {
  if (n <= 0) return;
  const int64_t chunks = std::clamp<int64_t>(n / std::max<int64_t>(grain, 1), 1, num_threads);
  if (chunks == 1) {
    body(int64_t{0}, n);
    return;
  }
#pragma omp parallel for num_threads(static_cast <int>(chunks)) schedule(static, 1)
  for (int64_t c = 0; c < chunks; ++c) body(n * c / chunks, n * (c + 1) / chunks);
}

}  // namespace trireme

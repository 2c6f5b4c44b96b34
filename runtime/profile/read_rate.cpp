#include "runtime/profile/read_rate.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "runtime/base/parallel_for.h"
#include "runtime/ops/cpu/read_words.h"

namespace trireme::ops {

double measure_read_rate(Context& ctx) {
  using Clock = std::chrono::steady_clock;
  constexpr int64_t kWords = int64_t{64} << 20;  // 512 MiB
  constexpr double kSeconds = 0.5;
  constexpr int kLeast = 5;
  std::vector<uint64_t> words(kWords);
  parallel_for(ctx.num_threads(), kWords, 1 << 20, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) words[static_cast<size_t>(i)] = static_cast<uint64_t>(i);
  });
  std::vector<uint64_t> results(1 + static_cast<size_t>(kWords >> 20));
  double best = 1e30, elapsed = 0;
  for (int pass = 0; pass < kLeast || elapsed < kSeconds; ++pass) {
    const auto start = Clock::now();
    parallel_for(ctx.num_threads(), kWords, 1 << 20, [&](int64_t begin, int64_t end) {
      results[static_cast<size_t>(begin >> 20)] = cpu::read_words(words.data() + begin, end - begin);
    });
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::min(best, seconds);
    elapsed += seconds;
  }
  // What is read decides something, if only this.
  const bool is_sound = std::ranges::any_of(results, [](uint64_t result) { return result != 1; });
  return is_sound ? static_cast<double>(kWords) * sizeof(uint64_t) / best : 0;
}

}  // namespace trireme::ops

#include "runtime/ops/cpu/read_words.h"

#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops::cpu {

namespace {

constexpr int64_t kLanes = 32;  // four cache lines: as many sums run side by side
constexpr int64_t kLine = 8;
constexpr int64_t kAhead = 512;  // words: 4 KiB

}  // namespace

TRIREME_VECTORIZED uint64_t read_words(const uint64_t* words, int64_t count) {
  uint64_t sums[kLanes] = {};
  for (int64_t i = 0; i + kLanes <= count; i += kLanes) {
    for (int64_t line = 0; line < kLanes; line += kLine) __builtin_prefetch(words + i + kAhead + line);
    for (int64_t lane = 0; lane < kLanes; ++lane) sums[lane] ^= words[i + lane];
  }
  uint64_t all = 0;
  for (const uint64_t sum : sums) all ^= sum;
  return all;
}

}  // namespace trireme::ops::cpu

#include "runtime/ops/cpu/training/stochastic_rounding.h"

#include <algorithm>
#include <bit>

#include "runtime/base/philox.h"
#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

/// Random bits of the counters first, first + 1, ...: 8 halves each.
TRIREME_VECTORIZED void random_halves(uint64_t key, int64_t first, uint64_t step, uint32_t* out, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const auto words = philox4x32(key, static_cast<uint64_t>(first + i), step);
    out[4 * i] = words[0];
    out[4 * i + 1] = words[1];
    out[4 * i + 2] = words[2];
    out[4 * i + 3] = words[3];
  }
}

/// What lies below the last bit of bf16 is its chance, in 2^-16, to be carried into it.
TRIREME_VECTORIZED void round_range(const float* w, const uint16_t* random, bf16* out, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t u = std::bit_cast<uint32_t>(w[i]);
    const uint32_t rounded = (u + random[i]) >> 16;
    const bool finite = (u & 0x7fffffffu) < 0x7f800000u;
    out[i].bits = static_cast<uint16_t>(finite ? rounded : bf16(w[i]).bits);
  }
}

/// The random bits of global elements [g, g + n), n <= kPiece.
void draw_run(uint64_t key, int64_t g, uint64_t step, uint16_t* out, int64_t n) {
  constexpr int64_t kCounters = StochasticRounding::kPiece / 8 + 1;
  uint32_t words[4 * kCounters];
  const int64_t skip = g % 8;
  random_halves(key, g / 8, step, words, (skip + n + 7) / 8);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t half = skip + i;
    out[i] = static_cast<uint16_t>(words[half / 2] >> (16 * (half % 2)));
  }
}

}  // namespace

StochasticRounding::StochasticRounding(std::span<const ElementRange> ranges, uint64_t number)
    : number_(number) {
  for (const ElementRange& r : ranges) sources_.push_back({r, BlockRuns(r.shape, r.global, r.offset)});
}

void StochasticRounding::round(int64_t begin, int64_t n, const float* w, bf16* out) const {
  uint16_t random[kPiece];
  draw(begin, n, random);
  round_range(w, random, out, n);
}

// Zeros for padding.
void StochasticRounding::draw(int64_t begin, int64_t n, uint16_t* out) const {
  std::fill(out, out + n, uint16_t{0});
  auto it = std::ranges::upper_bound(sources_, begin, {}, [](const Source& s) { return s.range.end; });
  for (; it != sources_.end() && it->range.begin < begin + n; ++it) {
    const ElementRange& r = it->range;
    const int64_t to_block = r.first - r.begin;
    it->runs.for_each(std::max(begin, r.begin) + to_block, std::min(begin + n, r.end) + to_block,
                      [&](int64_t g, int64_t at, int64_t count) {
                        draw_run(r.key, g, number_, out + (at - to_block - begin), count);
                      });
  }
}

void round_stochastically(Context& ctx, const Tensor& x, const Tensor& number,
                          std::span<const ElementRange> ranges, const Tensor& y) {
  const StochasticRounding rounding(ranges, static_cast<uint64_t>(*number.data<double>()));
  const auto* wide = x.data<float>();
  auto* out = y.data<bf16>();
  parallel_elements(ctx, x.numel(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += StochasticRounding::kPiece) {
      rounding.round(i, std::min(StochasticRounding::kPiece, end - i), wide + i, out + i);
    }
  });
}

}  // namespace trireme::ops::cpu

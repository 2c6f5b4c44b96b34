#include <cmath>
#include <vector>

#include "runtime/base/philox.h"
#include "runtime/ops/cpu/block_runs.h"
#include "runtime/ops/cpu/support.h"
#include "runtime/ops/training/adamw_constants.h"

namespace trireme::ops::cpu {

namespace {

struct Constants : AdamWConstants, AdamWUpdate {
  float gradient_scale;

  explicit Constants(const AdamWOptions& o)
      : AdamWConstants(o),
        AdamWUpdate(o.update.data<double>()),
        gradient_scale(o.gradient_scale ? *o.gradient_scale.data<float>() : 1.0f) {}

  /// Else nothing is to be done.
  bool are_usable() const { return std::isfinite(gradient_scale); }
};

TRIREME_VECTORIZED void update_range(const Constants& constants, const float* gradient, float* w, float* m,
                                     float* v, int64_t n) {
  const Constants c = constants;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float g = gradient[i] * c.gradient_scale;
    const float mean = c.beta1 * m[i] + c.rest1 * g;
    const float square = c.beta2 * v[i] + c.rest2 * g * g;
    m[i] = mean;
    v[i] = square;
    w[i] -=
        c.lr * (mean * c.correction1 / (std::sqrt(square * c.correction2) + c.eps) + c.weight_decay * w[i]);
  }
}

/// The copy is made from weights that are still in the first-level cache.
constexpr int64_t kPiece = 1024;

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
void draw(uint64_t key, int64_t g, uint64_t step, uint16_t* out, int64_t n) {
  constexpr int64_t kCounters = kPiece / 8 + 1;
  uint32_t words[4 * kCounters];
  const int64_t skip = g % 8;
  random_halves(key, g / 8, step, words, (skip + n + 7) / 8);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t half = skip + i;
    out[i] = static_cast<uint16_t>(words[half / 2] >> (16 * (half % 2)));
  }
}

/// A range with its runs of global elements.
struct Source {
  ElementRange range;
  BlockRuns runs;
};

/// The random bits of elements [begin, begin + n) of the flat tensors; zeros for padding.
void draw_piece(std::span<const Source> sources, uint64_t step, int64_t begin, int64_t n, uint16_t* out) {
  std::fill(out, out + n, uint16_t{0});
  auto it = std::ranges::upper_bound(sources, begin, {}, [](const Source& s) { return s.range.end; });
  for (; it != sources.end() && it->range.begin < begin + n; ++it) {
    const ElementRange& r = it->range;
    const int64_t to_block = r.first - r.begin;
    it->runs.for_each(std::max(begin, r.begin) + to_block, std::min(begin + n, r.end) + to_block,
                      [&](int64_t g, int64_t at, int64_t count) {
                        draw(r.key, g, step, out + (at - to_block - begin), count);
                      });
  }
}

}  // namespace

void adamw(Context& ctx, const AdamWOptions& options, const Tensor& gradient, const Tensor& w,
           const Tensor& m, const Tensor& v, const Tensor& copy) {
  const Constants constants(options);
  if (!constants.are_usable()) return;
  const auto* g = gradient.data<float>();
  auto *weights = w.data<float>(), *mean = m.data<float>(), *square = v.data<float>();
  with_compute_type(copy ? copy.dtype() : DType::f32, [&]<class T>(T) {
    T* rounded = data_or_null<T>(copy);
    parallel_elements(ctx, w.numel(), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i += kPiece) {
        const int64_t n = std::min(kPiece, end - i);
        update_range(constants, g + i, weights + i, mean + i, square + i, n);
        if (rounded != nullptr) convert_range(weights + i, rounded + i, n);
      }
    });
  });
}

void adamw_stochastic(Context& ctx, const AdamWOptions& options, const Tensor& gradient, const Tensor& w,
                      const Tensor& m, const Tensor& v, std::span<const ElementRange> ranges) {
  const Constants constants(options);
  if (!constants.are_usable()) return;
  std::vector<Source> sources;
  for (const ElementRange& r : ranges) sources.push_back({r, BlockRuns(r.shape, r.global, r.offset)});
  const auto* g = gradient.data<float>();
  auto *mean = m.data<float>(), *square = v.data<float>();
  auto* weights = w.data<bf16>();
  parallel_elements(ctx, w.numel(), [&](int64_t begin, int64_t end) {
    float wide[kPiece];
    uint16_t random[kPiece];
    for (int64_t i = begin; i < end; i += kPiece) {
      const int64_t n = std::min(kPiece, end - i);
      convert_range(weights + i, wide, n);
      update_range(constants, g + i, wide, mean + i, square + i, n);
      draw_piece(sources, constants.step, i, n, random);
      round_range(wide, random, weights + i, n);
    }
  });
}

}  // namespace trireme::ops::cpu

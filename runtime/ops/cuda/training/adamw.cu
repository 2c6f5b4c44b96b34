#include "runtime/base/philox.h"
#include "runtime/ops/cuda/block_place.cuh"
#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/training/adamw_constants.h"

namespace trireme::ops::cuda {

namespace {

/// Gradient and moments, and the update of a pack of weights. The fused multiply-adds are written out, so
/// that both kernels below compute the same bits.
struct Update {
  const float* gradient;
  float *m, *v;
  const float* gradient_scale;  // may be null
  const double* of_this_step;
  AdamWConstants c;

  Update(const AdamWOptions& o, const Tensor& g, const Tensor& mean, const Tensor& square)
      : gradient(g.data<float>()),
        m(mean.data<float>()),
        v(square.data<float>()),
        gradient_scale(data_or_null<float>(o.gradient_scale)),
        of_this_step(o.update.data<double>()),
        c(o) {}

  /// What gradients are multiplied by. Where it is not finite nothing is to be done.
  __device__ float scale() const { return gradient_scale != nullptr ? *gradient_scale : 1.0f; }

  __device__ AdamWUpdate now() const { return AdamWUpdate(of_this_step); }

  __device__ void operator()(int64_t i, int count, float factor, const AdamWUpdate& u,
                             float (&weight)[kPack]) const {
    float g[kPack], mean[kPack], square[kPack];
    load(gradient + i, count, g);
    load(m + i, count, mean);
    load(v + i, count, square);
    for (int j = 0; j < kPack; ++j) {
      const float scaled = g[j] * factor;
      mean[j] = fmaf(c.beta1, mean[j], c.rest1 * scaled);
      square[j] = fmaf(c.beta2, square[j], c.rest2 * scaled * scaled);
      const float step = mean[j] * u.correction1 / (sqrtf(square[j] * u.correction2) + c.eps);
      weight[j] = fmaf(-u.lr, fmaf(c.weight_decay, weight[j], step), weight[j]);
    }
    store(m + i, count, mean);
    store(v + i, count, square);
  }
};

template <class T>
struct AdamW {
  Update update;
  float* w;
  T* copy;  // may be null

  __device__ void operator()(int64_t i, int count) const {
    const float factor = update.scale();
    if (!(fabsf(factor) < INFINITY)) return;
    float weight[kPack];
    load(w + i, count, weight);
    update(i, count, factor, update.now(), weight);
    store(w + i, count, weight);
    if (copy != nullptr) store(copy + i, count, weight);
  }
};

/// What lies below the last bit of bf16 is its chance, in 2^-16, to be carried into it.
__device__ bf16 rounded_by(float x, unsigned random) {
  const unsigned bits = __float_as_uint(x);
  bf16 out = narrowed<bf16>(x);
  if ((bits & 0x7fffffffu) < 0x7f800000u) out.bits = static_cast<uint16_t>((bits + random) >> 16);
  return out;
}

/// The random bits of elements of one range, which are neighbours in the whole tensor for the most part and
/// then share counters.
class Drawer {
 public:
  __device__ unsigned draw(uint64_t key, int64_t element, uint64_t step) {
    if (element / 8 != counter_) {
      counter_ = element / 8;
      words_ = philox4x32(key, static_cast<uint64_t>(counter_), step);
    }
    // Selected, not indexed: the words stay in registers.
    const int half = static_cast<int>(element % 8);
    const uint32_t word = half < 4 ? (half < 2 ? words_[0] : words_[1]) : (half < 6 ? words_[2] : words_[3]);
    return (word >> (16 * (half % 2))) & 0xffffu;
  }

 private:
  int64_t counter_ = -1;
  std::array<uint32_t, 4> words_{};
};

struct Range {
  int64_t begin, end, to_block;  // element i of the flat tensors is element i + to_block of the block
  uint64_t key;
  BlockPlace place;
};

/// As many ranges as the arguments of a kernel hold with ease.
constexpr int kMostRanges = 16;

struct AdamWStochastic {
  Update update;
  bf16* w;
  int64_t first;  // of the elements of this launch
  int num_ranges = 0;
  Range ranges[kMostRanges] = {};

  __device__ void operator()(int64_t offset, int count) const {
    const int64_t i = first + offset;
    const float factor = update.scale();
    if (!(fabsf(factor) < INFINITY)) return;
    const AdamWUpdate now = update.now();
    float weight[kPack];
    load(w + i, count, weight);
    update(i, count, factor, now, weight);
    int r = 0;
    int64_t element = 0, left = 0;
    Drawer drawer;
#pragma unroll
    for (int j = 0; j < kPack; ++j, ++element, --left) {
      if (j >= count) break;
      while (r < num_ranges && ranges[r].end <= i + j) {
        ++r;
        left = 0;
        drawer = Drawer();
      }
      unsigned random = 0;  // of padding
      if (r < num_ranges && ranges[r].begin <= i + j) {
        if (left <= 0) element = ranges[r].place(i + j + ranges[r].to_block, left);
        random = drawer.draw(ranges[r].key, element, now.step);
      }
      weight[j] = widen(rounded_by(weight[j], random));
    }
    store(w + i, count, weight);
  }
};

}  // namespace

void adamw(Context& ctx, const AdamWOptions& options, const Tensor& gradient, const Tensor& w,
           const Tensor& m, const Tensor& v, const Tensor& copy) {
  with_compute_type(copy ? copy.dtype() : DType::f32, [&]<class T>(T) {
    launch_elementwise(ctx, w.numel(),
                       AdamW<T>{{options, gradient, m, v}, w.data<float>(), data_or_null<T>(copy)});
  });
}

void adamw_stochastic(Context& ctx, const AdamWOptions& options, const Tensor& gradient, const Tensor& w,
                      const Tensor& m, const Tensor& v, std::span<const ElementRange> ranges) {
  AdamWStochastic op{{options, gradient, m, v}, w.data<bf16>(), 0};
  // A launch goes on from where the one before it ended to the end of its last range, or of the tensors.
  for (size_t next = 0; op.first < w.numel();) {
    op.num_ranges = 0;
    while (op.num_ranges < kMostRanges && next < ranges.size()) {
      const ElementRange& r = ranges[next++];
      op.ranges[op.num_ranges++] = {r.begin, r.end, r.first - r.begin, r.key, {r.shape, r.global, r.offset}};
    }
    const int64_t end = next < ranges.size() ? ranges[next - 1].end : w.numel();
    launch_elementwise(ctx, end - op.first, op);
    op.first = end;
  }
}

}  // namespace trireme::ops::cuda

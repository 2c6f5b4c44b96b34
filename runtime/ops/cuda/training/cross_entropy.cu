// A block works on a row of logits: once through it for the largest and the sum of exponents, once for the
// gradient.
#include "runtime/ops/training/cross_entropy.h"

#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/cuda/reduce.cuh"

namespace trireme::ops::cuda {

namespace {

constexpr int kMostThreads = 512;
constexpr size_t kScratchBytes = kMostThreads / kWarp * sizeof(double);

struct RowStatistics {
  float max, sum, target;
};

__device__ float minus_infinity() { return __uint_as_float(0xff800000u); }

/// What a logit counts as: itself, or with a cap above 0 cap * tanh(logit / cap).
struct SoftCap {
  float cap;
  __device__ float operator()(float x) const { return cap > 0 ? cap * tanhf(x / cap) : x; }
  /// The derivative, from what the logit counts as.
  __device__ float slope(float capped) const {
    return cap > 0 ? 1.0f - (capped / cap) * (capped / cap) : 1.0f;
  }
};

/// The largest logit of a row and, in double, the sum of exp(logit - largest); of a row of -inf alone the sum
/// of exp(logit). Online (Milakov & Gimelshein, arXiv 1805.02867): a thread scales its sum when its maximum
/// grows.
struct RowSums {
  float max;
  double sum;

  template <class T>
  __device__ RowSums(const T* x, int64_t n, const SoftCap& capped, double* scratch) {
    float largest = minus_infinity(), total = 0;
    for (int64_t c = int64_t{threadIdx.x} * kPack; c < n; c += int64_t{blockDim.x} * kPack) {
      const int count = pack_size(c, n);
      float values[kPack];
      load(x + c, count, values);
      for (float& value : values) value = capped(value);
      float pack_max = largest;
      for (int j = 0; j < count; ++j) pack_max = fmaxf(pack_max, values[j]);
      if (pack_max > largest) {
        total *= expf(largest - pack_max);
        largest = pack_max;
      }
      for (int j = 0; j < count; ++j) total += expf(values[j] - base_of(largest));
    }
    max = block_reduce(largest, Max{}, reinterpret_cast<float*>(scratch));
    // A thread without logits has no base to be scaled from.
    const double scaled =
        total == 0 ? 0 : double{total} * exp(double{base_of(largest)} - double{base_of(max)});
    sum = block_reduce(scaled, Sum{}, scratch);
  }

  /// -inf minus -inf is no number.
  __device__ static float base_of(float max) { return max == minus_infinity() ? 0.0f : max; }
};

/// This block's row of dx = factor * exp(x - max), less `scale` at `target` (which may lie outside); of
/// capped logits, times the derivative of the cap.
template <class T>
__device__ void store_gradient(const T* x, int64_t n, const SoftCap& capped, float max, float factor,
                               int64_t target, float scale, T* dx) {
  for (int64_t c = int64_t{threadIdx.x} * kPack; c < n; c += int64_t{blockDim.x} * kPack) {
    const int count = pack_size(c, n);
    float values[kPack];
    load(x + c, count, values);
    for (int j = 0; j < kPack; ++j) {
      const float logit = capped(values[j]);
      values[j] = factor * expf(logit - max);
      if (c + j == target) values[j] -= scale;
      if (capped.cap > 0) values[j] *= capped.slope(logit);
    }
    store(dx + c, count, values);
  }
}

template <class T>
__device__ void store_zeros(int64_t n, T* dx) {
  const float zeros[kPack] = {};
  for (int64_t c = int64_t{threadIdx.x} * kPack; c < n; c += int64_t{blockDim.x} * kPack) {
    store(dx + c, pack_size(c, n), zeros);
  }
}

template <class T>
struct Logits {
  const T* x;
  T* dx;  // or null
  int64_t rows, width, stride, dx_stride;
  int64_t first, total;  // the first of the columns here, and how many there are
  const int32_t* targets;
  SoftCap capped;

  __device__ const T* row(int64_t r) const { return x + r * stride; }
  __device__ T* gradient(int64_t r) const { return dx == nullptr ? nullptr : dx + r * dx_stride; }
  /// The target's column here, which may lie outside, or -1 for a target that does not count.
  __device__ bool counts(int64_t r) const {
    if (targets[r] != kIgnoredTarget) expect_index(targets[r], total);
    return targets[r] != kIgnoredTarget;
  }
  __device__ int64_t column(int64_t r) const { return targets[r] - first; }
};

template <class T>
__global__ void __launch_bounds__(kMostThreads) loss_kernel(Logits<T> logits, float scale, float* loss) {
  auto* scratch = shared_memory<double>();
  for (int64_t r = blockIdx.x; r < logits.rows; r += gridDim.x) {
    T* dx = logits.gradient(r);
    if (!logits.counts(r)) {
      if (threadIdx.x == 0) loss[r] = 0;
      if (dx != nullptr) store_zeros(logits.width, dx);
      continue;
    }
    const T* x = logits.row(r);
    const float at_target = logits.capped(widen(x[logits.column(r)]));
    const RowSums sums(x, logits.width, logits.capped, scratch);
    if (threadIdx.x == 0)
      loss[r] = static_cast<float>(log(sums.sum) + (double{sums.max} - double{at_target}));
    if (dx != nullptr) {
      store_gradient(x, logits.width, logits.capped, sums.max, static_cast<float>(double{scale} / sums.sum),
                     logits.column(r), scale, dx);
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kMostThreads)
    statistics_kernel(Logits<T> logits, RowStatistics* statistics) {
  auto* scratch = shared_memory<double>();
  for (int64_t r = blockIdx.x; r < logits.rows; r += gridDim.x) {
    const T* x = logits.row(r);
    const int64_t column = logits.column(r);
    const bool here = logits.counts(r) && column >= 0 && column < logits.width;
    const float at_target = here ? logits.capped(widen(x[column])) : 0.0f;
    const RowSums sums(x, logits.width, logits.capped, scratch);
    if (threadIdx.x == 0) statistics[r] = {sums.max, static_cast<float>(sums.sum), at_target};
  }
}

/// As the CPU body's: of the whole row, from those of its parts.
struct WholeRow {
  float max;
  double sum = 0, target = 0;

  __device__ WholeRow(const RowStatistics* parts, int64_t num_parts, int64_t stride) : max(minus_infinity()) {
    for (int64_t p = 0; p < num_parts; ++p) max = fmaxf(max, parts[p * stride].max);
    for (int64_t p = 0; p < num_parts; ++p) {
      const RowStatistics& part = parts[p * stride];
      sum += double{part.sum} * exp(double{part.max} - double{max});
      target += double{part.target};
    }
  }
};

template <class T>
__global__ void __launch_bounds__(kMostThreads)
    loss_of_part_kernel(Logits<T> logits, const RowStatistics* statistics, int64_t num_parts, float scale,
                        float* loss) {
  for (int64_t r = blockIdx.x; r < logits.rows; r += gridDim.x) {
    T* dx = logits.gradient(r);
    if (!logits.counts(r)) {
      if (threadIdx.x == 0) loss[r] = 0;
      if (dx != nullptr) store_zeros(logits.width, dx);
      continue;
    }
    const WholeRow whole(statistics + r, num_parts, logits.rows);
    if (threadIdx.x == 0) {
      loss[r] = static_cast<float>(log(whole.sum) + (double{whole.max} - whole.target));
    }
    if (dx != nullptr) {
      store_gradient(logits.row(r), logits.width, logits.capped, whole.max,
                     static_cast<float>(double{scale} / whole.sum), logits.column(r), scale, dx);
    }
  }
}

template <class T>
Logits<T> logits_of(const Columns& logits, const Columns& dlogits, const Tensor& targets,
                    const TablePart& part, float soft_cap) {
  return {logits.data<T>(),
          data_or_null<T>(dlogits),
          logits.rows(),
          logits.count,
          logits.stride(),
          dlogits ? dlogits.stride() : 0,
          part.first,
          part.total,
          targets.data<int32_t>(),
          {soft_cap}};
}

unsigned threads_of(const Columns& logits) {
  return row_threads(ceil_div(logits.count, kPack), kMostThreads);
}

RowStatistics* rows_of(const Tensor& statistics) {
  return reinterpret_cast<RowStatistics*>(statistics.data<float>());
}

}  // namespace

void cross_entropy(Context& ctx, const Columns& logits, const Tensor& targets, float gradient_scale,
                   const Tensor& loss, const Columns& dlogits, float soft_cap) {
  with_compute_type(logits.dtype(), [&]<class T>(T) {
    launch(ctx, loss_kernel<T>, num_blocks(logits.rows()), threads_of(logits), kScratchBytes,
           logits_of<T>(logits, dlogits, targets, {0, logits.count}, soft_cap), gradient_scale,
           loss.data<float>());
  });
}

void cross_entropy_statistics(Context& ctx, const Columns& logits, const Tensor& targets,
                              const TablePart& part, const Tensor& statistics, float soft_cap) {
  with_compute_type(logits.dtype(), [&]<class T>(T) {
    launch(ctx, statistics_kernel<T>, num_blocks(logits.rows()), threads_of(logits), kScratchBytes,
           logits_of<T>(logits, {}, targets, part, soft_cap), rows_of(statistics));
  });
}

void cross_entropy_of_part(Context& ctx, const Columns& logits, const Tensor& targets, const TablePart& part,
                           const Tensor& statistics, float gradient_scale, const Tensor& loss,
                           const Columns& dlogits, float soft_cap) {
  with_compute_type(logits.dtype(), [&]<class T>(T) {
    launch(ctx, loss_of_part_kernel<T>, num_blocks(logits.rows()), threads_of(logits), 0,
           logits_of<T>(logits, dlogits, targets, part, soft_cap), rows_of(statistics), statistics.dim(0),
           gradient_scale, loss.data<float>());
  });
}

}  // namespace trireme::ops::cuda

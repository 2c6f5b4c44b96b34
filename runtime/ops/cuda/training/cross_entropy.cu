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
  float max, sum, target, total;
};
static_assert(sizeof(RowStatistics) == kCrossEntropyStatistics * sizeof(float));

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

/// The sum of this block's row of logits.
template <class T>
__device__ double total_of(const T* x, int64_t n, const SoftCap& capped, double* scratch) {
  double total = 0;
  for (int64_t c = int64_t{threadIdx.x} * kPack; c < n; c += int64_t{blockDim.x} * kPack) {
    const int count = pack_size(c, n);
    float values[kPack];
    load(x + c, count, values);
    for (int j = 0; j < count; ++j) total += double{capped(values[j])};
  }
  return block_reduce(total, Sum{}, scratch);
}

/// This block's row of the gradient; `target` may lie outside.
template <class T>
__device__ void store_gradient(const T* x, int64_t n, const SoftCap& capped, float max,
                               const CrossEntropyGradient& gradient, int64_t target, T* dx) {
  for (int64_t c = int64_t{threadIdx.x} * kPack; c < n; c += int64_t{blockDim.x} * kPack) {
    const int count = pack_size(c, n);
    float values[kPack];
    load(x + c, count, values);
    for (int j = 0; j < kPack; ++j) {
      const float logit = capped(values[j]);
      const float less = c + j == target ? gradient.at_target : gradient.uniform;
      values[j] = gradient.factor * expf(logit - max) - less;
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
  const float* weights;  // or null: 1 each
  CrossEntropyOptions options;
  float* loss;
  float* added;  // or null

  __device__ const T* row(int64_t r) const { return x + r * stride; }
  __device__ T* gradient(int64_t r) const { return dx == nullptr ? nullptr : dx + r * dx_stride; }
  __device__ float weight(int64_t r) const { return weights == nullptr ? 1.0f : weights[r]; }
  __device__ bool counts(int64_t r) const {
    if (targets[r] != kIgnoredTarget) expect_index(targets[r], total);
    return targets[r] != kIgnoredTarget && weight(r) != 0;
  }
  /// The target's column here, which may lie outside.
  __device__ int64_t column(int64_t r) const { return targets[r] - first; }
  __device__ SoftCap capped() const { return {options.soft_cap}; }

  /// Of a row whose exponents, less the largest logit, have this sum.
  __device__ void store_loss(int64_t r, float max, double sum, double at_target, double all_logits) const {
    loss[r] = static_cast<float>(double{weight(r)} * (log(sum) + (double{max} - at_target)));
    if (added != nullptr)
      added[r] =
          cross_entropy_added(options, weight(r), log(sum) + double{max}, at_target, all_logits, total);
  }
  /// Of a row whose target does not count.
  __device__ void store_nothing(int64_t r) const {
    if (threadIdx.x == 0) {
      loss[r] = 0;
      if (added != nullptr) added[r] = 0;
    }
    if (dx != nullptr) store_zeros(width, gradient(r));
  }
  __device__ void store_gradient_of(int64_t r, float max, double sum) const {
    if (dx == nullptr) return;
    const CrossEntropyGradient of_row = cross_entropy_gradient(
        options, weight(r), sum, options.z_loss > 0 ? log(sum) + double{max} : 0.0, total);
    store_gradient(row(r), width, capped(), max, of_row, column(r), gradient(r));
  }
};

template <class T>
__global__ void __launch_bounds__(kMostThreads) loss_kernel(Logits<T> logits) {
  auto* scratch = shared_memory<double>();
  for (int64_t r = blockIdx.x; r < logits.rows; r += gridDim.x) {
    if (!logits.counts(r)) {
      logits.store_nothing(r);
      continue;
    }
    const T* x = logits.row(r);
    const float at_target = logits.capped()(widen(x[logits.column(r)]));
    const RowSums sums(x, logits.width, logits.capped(), scratch);
    double total = 0;
    if (logits.options.label_smoothing > 0) total = total_of(x, logits.width, logits.capped(), scratch);
    if (threadIdx.x == 0) logits.store_loss(r, sums.max, sums.sum, double{at_target}, total);
    logits.store_gradient_of(r, sums.max, sums.sum);
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
    const float at_target = here ? logits.capped()(widen(x[column])) : 0.0f;
    const RowSums sums(x, logits.width, logits.capped(), scratch);
    double total = 0;
    if (logits.options.label_smoothing > 0) total = total_of(x, logits.width, logits.capped(), scratch);
    if (threadIdx.x == 0)
      statistics[r] = {sums.max, static_cast<float>(sums.sum), at_target, static_cast<float>(total)};
  }
}

/// As the CPU body's: of the whole row, from those of its parts.
struct WholeRow {
  float max;
  double sum = 0, target = 0, total = 0;

  __device__ WholeRow(const RowStatistics* parts, int64_t num_parts, int64_t stride) : max(minus_infinity()) {
    for (int64_t p = 0; p < num_parts; ++p) max = fmaxf(max, parts[p * stride].max);
    for (int64_t p = 0; p < num_parts; ++p) {
      const RowStatistics& part = parts[p * stride];
      sum += double{part.sum} * exp(double{part.max} - double{max});
      target += double{part.target};
      total += double{part.total};
    }
  }
};

template <class T>
__global__ void __launch_bounds__(kMostThreads)
    loss_of_part_kernel(Logits<T> logits, const RowStatistics* statistics, int64_t num_parts) {
  for (int64_t r = blockIdx.x; r < logits.rows; r += gridDim.x) {
    if (!logits.counts(r)) {
      logits.store_nothing(r);
      continue;
    }
    const WholeRow whole(statistics + r, num_parts, logits.rows);
    if (threadIdx.x == 0) logits.store_loss(r, whole.max, whole.sum, whole.target, whole.total);
    logits.store_gradient_of(r, whole.max, whole.sum);
  }
}

template <class T>
Logits<T> logits_of(const Columns& logits, const Tensor& targets, const TablePart& part,
                    const CrossEntropyOptions& options, const Tensor& loss = {}, const Columns& dlogits = {},
                    const Tensor& added = {}, const Tensor& weights = {}) {
  return {logits.data<T>(),          data_or_null<T>(dlogits),       logits.rows(), logits.count,
          logits.stride(),           dlogits ? dlogits.stride() : 0, part.first,    part.total,
          targets.data<int32_t>(),   data_or_null<float>(weights),   options,       data_or_null<float>(loss),
          data_or_null<float>(added)};
}

unsigned threads_of(const Columns& logits) {
  return row_threads(ceil_div(logits.count, kPack), kMostThreads);
}

RowStatistics* rows_of(const Tensor& statistics) {
  return reinterpret_cast<RowStatistics*>(statistics.data<float>());
}

}  // namespace

void cross_entropy(Context& ctx, const Columns& logits, const Tensor& targets,
                   const CrossEntropyOptions& options, const Tensor& loss, const Columns& dlogits,
                   const Tensor& added, const Tensor& weights) {
  with_compute_type(logits.dtype(), [&]<class T>(T) {
    launch(ctx, loss_kernel<T>, num_blocks(logits.rows()), threads_of(logits), kScratchBytes,
           logits_of<T>(logits, targets, {0, logits.count}, options, loss, dlogits, added, weights));
  });
}

void cross_entropy_statistics(Context& ctx, const Columns& logits, const Tensor& targets,
                              const TablePart& part, const CrossEntropyOptions& options,
                              const Tensor& statistics) {
  with_compute_type(logits.dtype(), [&]<class T>(T) {
    launch(ctx, statistics_kernel<T>, num_blocks(logits.rows()), threads_of(logits), kScratchBytes,
           logits_of<T>(logits, targets, part, options), rows_of(statistics));
  });
}

void cross_entropy_of_part(Context& ctx, const Columns& logits, const Tensor& targets, const TablePart& part,
                           const CrossEntropyOptions& options, const Tensor& statistics, const Tensor& loss,
                           const Columns& dlogits, const Tensor& added, const Tensor& weights) {
  with_compute_type(logits.dtype(), [&]<class T>(T) {
    launch(ctx, loss_of_part_kernel<T>, num_blocks(logits.rows()), threads_of(logits), 0,
           logits_of<T>(logits, targets, part, options, loss, dlogits, added, weights), rows_of(statistics),
           statistics.dim(0));
  });
}

}  // namespace trireme::ops::cuda

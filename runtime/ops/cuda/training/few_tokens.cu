// A block works on a row of logits.
#include "runtime/ops/training/few_tokens.h"

#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/cuda/reduce.cuh"

namespace trireme::ops::cuda {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kBins = 256;              // of a digit of a key
constexpr int64_t kSegment = kThreads;  // columns that are summed first, to be looked at where a draw falls

__device__ float minus_infinity() { return __uint_as_float(0xff800000u); }
__device__ float no_number() { return __uint_as_float(0x7fc00000u); }

struct PartStatistics {
  double largest, sum;
};

template <class T>
struct Rows {
  const T* x;
  int64_t rows, width, stride;
  float cap, factor;

  Rows(const Columns& logits, const LogitSoftmax& softmax)
      : x(logits.data<T>()),
        rows(logits.rows()),
        width(logits.count),
        stride(logits.stride()),
        cap(softmax.soft_cap),
        factor(1.0f / softmax.temperature) {}

  __device__ float at(int64_t row, int64_t column) const {
    const float value = widen(x[row * stride + column]);
    return cap > 0 && value > minus_infinity() ? cap * tanhf(value / cap) : value;
  }
  /// Of a logit, less the largest of its row.
  __device__ float weight(float logit, float largest) const { return expf((logit - largest) * factor); }
};

// --- statistics

template <class T>
__global__ void statistics_kernel(Rows<T> x, PartStatistics* out) {
  auto* scratch = shared_memory<double>();
  for (int64_t row = blockIdx.x; row < x.rows; row += gridDim.x) {
    float most = minus_infinity(), bad = 0;
    for (int64_t c = threadIdx.x; c < x.width; c += kThreads) {
      const float value = x.at(row, c);
      most = fmaxf(most, value);
      if (!(value < __uint_as_float(0x7f800000u))) bad = 1;
    }
    most = block_reduce(most, Max{}, reinterpret_cast<float*>(scratch));
    bad = block_reduce(bad, Max{}, reinterpret_cast<float*>(scratch));
    double sum = 0;
    if (most > minus_infinity()) {
      for (int64_t c = threadIdx.x; c < x.width; c += kThreads) sum += double{x.weight(x.at(row, c), most)};
    }
    sum = block_reduce(sum, Sum{}, scratch);
    if (threadIdx.x != 0) continue;
    out[row] = bad > 0 ? PartStatistics{minus_infinity(), no_number()} : PartStatistics{most, sum};
  }
}

// --- the likeliest

/// A logit and its column as one key: larger for larger ones and, of equal ones, for the first. 0: no token.
__device__ inline uint64_t token_key(float x, int64_t column) {
  if (!(x > minus_infinity())) return 0;
  const unsigned bits = __float_as_uint(x + 0.0f);  // -0 becomes 0
  const unsigned ordered = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
  return uint64_t{ordered} << 32 | ~static_cast<unsigned>(column);
}
__device__ inline float logit_of_key(uint64_t key) {
  const auto ordered = static_cast<unsigned>(key >> 32);
  return __uint_as_float((ordered >> 31) != 0 ? ordered & 0x7fffffffu : ~ordered);
}

/// What a block shares while it selects.
struct Selection {
  unsigned bins[kBins];
  uint64_t prefix;  // of the digits that are known of the least key that is taken
  unsigned left;    // how many of the keys that begin with it are taken
  unsigned in_bin;  // how many there are
  unsigned num_taken;
};

/// Chooses the digit at `shift` of the least key of those that are taken: from above, until there are enough.
__device__ void choose_digit(Selection& s, int shift) {
  if (threadIdx.x == 0) {
    unsigned left = s.left;
    int bin = kBins - 1;
    while (bin > 0 && s.bins[bin] < left) left -= s.bins[bin--];
    s.prefix |= uint64_t{static_cast<unsigned>(bin)} << shift;
    s.left = left;
    s.in_bin = s.bins[bin];
  }
  __syncthreads();
}

/// Puts the k largest keys (or all, the others 0) of a row into keys[size], a power of two of at least k, in
/// no order: digit by digit from the highest, it counts the keys that may be the k-th largest, until all that
/// begin alike are taken.
template <class T>
__device__ void select_keys(const Rows<T>& x, int64_t row, int k, int size, Selection& s, uint64_t* keys) {
  if (threadIdx.x == 0) {
    s.prefix = 0;
    s.left = static_cast<unsigned>(k);
    s.num_taken = 0;
  }
  for (int i = threadIdx.x; i < size; i += kThreads) keys[i] = 0;
  int shift = 64;
  do {
    shift -= 8;
    for (int i = threadIdx.x; i < kBins; i += kThreads) s.bins[i] = 0;
    __syncthreads();
    for (int64_t c = threadIdx.x; c < x.width; c += kThreads) {
      const uint64_t key = token_key(x.at(row, c), c);
      if (key == 0 || (shift < 56 && (key ^ s.prefix) >> (shift + 8) != 0)) continue;
      atomicAdd(&s.bins[key >> shift & (kBins - 1)], 1u);
    }
    __syncthreads();
    choose_digit(s, shift);
  } while (shift > 0 && s.in_bin > s.left);
  for (int64_t c = threadIdx.x; c < x.width; c += kThreads) {
    const uint64_t key = token_key(x.at(row, c), c);
    if (key != 0 && key >> shift >= s.prefix >> shift) keys[atomicAdd(&s.num_taken, 1u)] = key;
  }
  __syncthreads();
}

/// Sorts keys, the largest first; `size` is a power of two (Batcher's bitonic sort, 1968).
__device__ void sort_keys(uint64_t* keys, int size) {
  for (int run = 2; run <= size; run *= 2) {
    for (int step = run / 2; step > 0; step /= 2) {
      for (int i = threadIdx.x; i < size; i += kThreads) {
        const int other = i ^ step;
        if (other <= i) continue;
        const bool falls = (i & run) == 0;
        if ((keys[i] < keys[other]) == falls) {
          const uint64_t key = keys[i];
          keys[i] = keys[other];
          keys[other] = key;
        }
      }
      __syncthreads();
    }
  }
}

template <class T>
__global__ void likeliest_kernel(Rows<T> x, int64_t first, int k, int size, int32_t* ids, float* values) {
  auto* keys = shared_memory<uint64_t>();
  auto& selection = *reinterpret_cast<Selection*>(keys + size);
  for (int64_t row = blockIdx.x; row < x.rows; row += gridDim.x) {
    select_keys(x, row, k, size, selection, keys);
    sort_keys(keys, size);
    for (int i = threadIdx.x; i < k; i += kThreads) {
      const bool is_there = keys[i] != 0;
      ids[row * k + i] = is_there ? static_cast<int32_t>(~static_cast<unsigned>(keys[i]) + first) : -1;
      values[row * k + i] = is_there ? logit_of_key(keys[i]) : minus_infinity();
    }
    __syncthreads();
  }
}

// --- what all parts say

struct RowSums {
  const PartStatistics* at;
  int64_t parts, rows;
  double factor;
  double largest, total;

  __device__ RowSums(const PartStatistics* statistics, int64_t num_parts, int64_t num_rows, int64_t row,
                     float temperature)
      : at(statistics + row),
        parts(num_parts),
        rows(num_rows),
        factor(1.0 / double{temperature}),
        largest(minus_infinity()),
        total(0) {
    for (int64_t p = 0; p < parts; ++p) largest = fmax(largest, part(p).largest);
    for (int64_t p = 0; p < parts; ++p) total += share(p);
  }

  __device__ const PartStatistics& part(int64_t p) const { return at[p * rows]; }
  __device__ double share(int64_t p) const {
    return part(p).sum == 0 ? 0 : part(p).sum * exp((part(p).largest - largest) * factor);
  }
  __device__ bool is_sound() const { return total > 0 && total < 1e300; }
};

/// A row of no tokens, or where it is not sound of one without a probability.
__device__ void clear_row(int k, bool is_sound, int32_t* ids, float* probabilities) {
  for (int i = threadIdx.x; i < k; i += static_cast<int>(blockDim.x)) {
    ids[i] = i == 0 && !is_sound ? 0 : -1;
    probabilities[i] = i == 0 && !is_sound ? no_number() : 0.0f;
  }
  __syncthreads();
}

struct ListedTokens {
  const int32_t* ids;
  const float* values;
  int64_t parts, rows, count;

  __device__ int64_t place(int64_t p, int64_t row) const { return (p * rows + row) * count; }
  /// How many of part p's list come before this token: columns rise with the parts.
  __device__ int64_t before(int64_t p, int64_t row, float value, int32_t id) const {
    const int64_t from = place(p, row);
    int64_t low = 0, high = count;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      const float other = values[from + middle];
      const bool is_first =
          ids[from + middle] >= 0 && (other > value || (other == value && ids[from + middle] < id));
      if (is_first)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
};

__global__ void merge_likeliest_kernel(ListedTokens lists, const PartStatistics* statistics,
                                       float temperature, int k, int32_t* ids, float* probabilities) {
  for (int64_t row = blockIdx.x; row < lists.rows; row += gridDim.x) {
    const RowSums sums(statistics, lists.parts, lists.rows, row, temperature);
    clear_row(k, sums.is_sound(), ids + row * k, probabilities + row * k);
    if (!sums.is_sound()) continue;
    for (int64_t i = threadIdx.x; i < lists.parts * lists.count; i += blockDim.x) {
      const int64_t from = lists.place(i / lists.count, row) + i % lists.count;
      const int32_t id = lists.ids[from];
      if (id < 0) continue;
      const float value = lists.values[from];
      int64_t place = 0;
      for (int64_t p = 0; p < lists.parts; ++p) place += lists.before(p, row, value, id);
      if (place >= k) continue;
      ids[row * k + place] = id;
      probabilities[row * k + place] =
          static_cast<float>(exp((double{value} - sums.largest) * sums.factor) / sums.total);
    }
  }
}

// --- draws

/// The sums of segments of a row, in shared memory as what all up to each have.
template <class T>
__device__ void sum_segments(const Rows<T>& x, int64_t row, float largest, double* ends) {
  const int64_t segments = ceil_div(x.width, kSegment);
  for (int64_t s = threadIdx.x / kWarp; s < segments; s += kWarps) {
    double sum = 0;
    const int64_t end = (s + 1) * kSegment < x.width ? (s + 1) * kSegment : x.width;
    for (int64_t c = s * kSegment + lane(); c < end; c += kWarp)
      sum += double{x.weight(x.at(row, c), largest)};
    sum = warp_reduce(sum, Sum{});
    if (lane() == 0) ends[s] = sum;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int64_t s = 1; s < segments; ++s) ends[s] += ends[s - 1];
  }
  __syncthreads();
}

/// The column at which the sum passes `at`; the last one that has any of it where rounding leaves more.
template <class T>
__device__ int64_t column_of(const Rows<T>& x, int64_t row, float largest, const double* ends, double at) {
  const int64_t segments = ceil_div(x.width, kSegment);
  const auto first_above = [&](double bound, bool or_equal) {
    int64_t low = 0, high = segments - 1;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (ends[middle] > bound || (or_equal && ends[middle] == bound))
        high = middle;
      else
        low = middle + 1;
    }
    return low;
  };
  const int64_t s = ends[segments - 1] > at ? first_above(at, false) : first_above(ends[segments - 1], true);
  double sum = s == 0 ? 0 : ends[s - 1];
  int64_t last = s * kSegment;
  for (int64_t c = s * kSegment; c < (s + 1) * kSegment && c < x.width; ++c) {
    const float weight = x.weight(x.at(row, c), largest);
    if (weight == 0) continue;
    last = c;
    if ((sum += double{weight}) > at) break;
  }
  return last;
}

template <class T>
__global__ void draw_kernel(Rows<T> x, int64_t first, int64_t part, DrawOptions options, float temperature,
                            const int32_t* places, const PartStatistics* statistics, int64_t parts, int n,
                            int32_t* draws) {
  auto* ends = shared_memory<double>();
  for (int64_t row = blockIdx.x; row < x.rows; row += gridDim.x) {
    for (int i = threadIdx.x; i < n; i += kThreads) draws[row * n + i] = -1;
    const RowSums sums(statistics, parts, x.rows, row, temperature);
    const double share = sums.share(part);
    if (!sums.is_sound() || share == 0) continue;
    double begin = 0, behind = 0;
    for (int64_t p = 0; p < part; ++p) begin += sums.share(p);
    for (int64_t p = part + 1; p < parts; ++p) behind += sums.share(p);
    const auto largest = static_cast<float>(sums.part(part).largest);
    __syncthreads();
    sum_segments(x, row, largest, ends);
    for (int i = threadIdx.x; i < n; i += kThreads) {
      const double at = options.uniform(options.sample_of(row), places[row], i) * sums.total;
      if (at < begin || (behind > 0 && at >= begin + share)) continue;
      const double here = (at - begin) / share * sums.part(part).sum;
      draws[row * n + i] = static_cast<int32_t>(first + column_of(x, row, largest, ends, here));
    }
    __syncthreads();
  }
}

__global__ void merge_draws_kernel(const int32_t* draws, int64_t rows, int n, int32_t* ids,
                                   float* probabilities) {
  auto* drawn = shared_memory<int32_t>();
  int32_t* is_first = drawn + n;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    int32_t most = -1;
    for (int i = threadIdx.x; i < n; i += static_cast<int>(blockDim.x)) drawn[i] = draws[row * n + i];
    __syncthreads();
    for (int i = 0; i < n; ++i) most = drawn[i] > most ? drawn[i] : most;
    for (int i = threadIdx.x; i < n; i += static_cast<int>(blockDim.x)) {
      bool is_new = drawn[i] >= 0;
      for (int j = 0; j < i && is_new; ++j) is_new = drawn[j] != drawn[i];
      is_first[i] = is_new ? 1 : 0;
    }
    clear_row(n, most >= 0, ids + row * n, probabilities + row * n);
    for (int i = threadIdx.x; i < n; i += static_cast<int>(blockDim.x)) {
      if (is_first[i] == 0) continue;
      int place = 0, count = 0;
      for (int j = 0; j < n; ++j) {
        place += is_first[j] != 0 && drawn[j] < drawn[i] ? 1 : 0;
        count += drawn[j] == drawn[i] ? 1 : 0;
      }
      ids[row * n + place] = drawn[i];
      probabilities[row * n + place] = static_cast<float>(count) / static_cast<float>(n);
    }
    __syncthreads();
  }
}

const PartStatistics* statistics_at(const Tensor& t) {
  return reinterpret_cast<const PartStatistics*>(t.data<double>());
}

}  // namespace

void softmax_statistics(Context& ctx, const Columns& logits, const LogitSoftmax& softmax,
                        const Tensor& statistics) {
  with_compute_type(logits.dtype(), [&]<class T>(T) {
    launch(ctx, statistics_kernel<T>, num_blocks(logits.rows()), kThreads, kWarps * sizeof(double),
           Rows<T>(logits, softmax), reinterpret_cast<PartStatistics*>(statistics.data<double>()));
  });
}

void likeliest_columns(Context& ctx, const Columns& logits, const LogitSoftmax& softmax, int64_t first,
                       const Tensor& ids, const Tensor& values) {
  const auto k = static_cast<int>(ids.dim(1));
  int size = 1;
  while (size < k) size *= 2;
  const size_t shared = static_cast<size_t>(size) * sizeof(uint64_t) + sizeof(Selection);
  with_compute_type(logits.dtype(), [&]<class T>(T) {
    launch(ctx, likeliest_kernel<T>, num_blocks(logits.rows()), kThreads, shared, Rows<T>(logits, softmax),
           first, k, size, ids.data<int32_t>(), values.data<float>());
  });
}

void merge_likeliest(Context& ctx, const LogitSoftmax& softmax, const Tensor& statistics,
                     const Tensor& part_ids, const Tensor& part_values, const Tensor& ids,
                     const Tensor& probabilities) {
  const ListedTokens lists{part_ids.data<int32_t>(), part_values.data<float>(), part_ids.dim(0),
                           part_ids.dim(1), part_ids.dim(2)};
  launch(ctx, merge_likeliest_kernel, num_blocks(lists.rows),
         row_threads(lists.parts * lists.count, kThreads), 0, lists, statistics_at(statistics),
         softmax.temperature, static_cast<int>(ids.dim(1)), ids.data<int32_t>(), probabilities.data<float>());
}

void draw_columns(Context& ctx, const Columns& logits, const LogitSoftmax& softmax, int64_t first,
                  int64_t part, const DrawOptions& options, const Tensor& places, const Tensor& statistics,
                  const Tensor& draws) {
  const auto shared = static_cast<size_t>(ceil_div(logits.count, kSegment)) * sizeof(double);
  with_compute_type(logits.dtype(), [&]<class T>(T) {
    launch(ctx, draw_kernel<T>, num_blocks(logits.rows()), kThreads, shared, Rows<T>(logits, softmax), first,
           part, options, softmax.temperature, places.data<int32_t>(), statistics_at(statistics),
           statistics.dim(0), static_cast<int>(draws.dim(1)), draws.data<int32_t>());
  });
}

void merge_draws(Context& ctx, const Tensor& draws, const Tensor& ids, const Tensor& probabilities) {
  const int64_t n = draws.dim(1);
  launch(ctx, merge_draws_kernel, num_blocks(draws.dim(0)), row_threads(n, kThreads),
         static_cast<size_t>(2 * n) * sizeof(int32_t), draws.data<int32_t>(), draws.dim(0),
         static_cast<int>(n), ids.data<int32_t>(), probabilities.data<float>());
}

}  // namespace trireme::ops::cuda

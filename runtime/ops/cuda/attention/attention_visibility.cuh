// Which scores of a tile count in the attention kernels on tensor cores.
#pragma once

#include "runtime/ops/cuda/attention/attention.cuh"
#include "runtime/ops/cuda/mma.cuh"

namespace trireme::ops::cuda {

/// Which keys of a tile the queries of a tile see: query r key c where c < keys, c <= r + diagonal and
/// first(r) <= c; first(r) counts under a window or first keys alone. Queries beyond the last see what they
/// would see as queries: their rows are zeros and are not stored.
template <bool kPlain>
struct Visibility {
  const KernelShape& shape;
  int keys, diagonal, oldest = 0;
  const int32_t* first_keys = nullptr;  // of the tile's queries, or null
  int last_query = 0;                   // the last one that there is
  int64_t first_place = 0;              // at which the tile's first key lies

  int64_t distance_of_first = 0;  // the first query's place less the first key's, for a pattern

  __device__ Visibility(const KernelShape& s, int64_t batch, int64_t first_query, int64_t first_key)
      : shape(s) {
    keys = near(s.kv_len - first_key);
    const int64_t distance = first_query + place_of_queries(s) - first_key;
    diagonal = near(s.causal ? distance : kFar);
    if (kPlain) return;
    const int64_t window = s.is_sparse ? (s.sparse_window > 0 ? s.sparse_window : 1) : s.window;
    oldest = near(window > 0 ? distance - window + 1 : -kFar);
    distance_of_first = distance;
    // A warp's first query may lie beyond the last one.
    const int64_t there = first_query < s.q_len ? first_query : s.q_len - 1;
    first_keys = s.first_key == nullptr ? nullptr : s.first_key + batch * s.q_len + there;
    last_query = near(s.q_len - 1 - there);
    first_place = s.first_place + first_key;
  }
  /// The first key that a query may see, of those in its window where there is a pattern.
  __device__ int first(int query) const {
    const int in_window = query + oldest;
    if (first_keys == nullptr) return in_window;
    const int of_query = near(first_keys[query < last_query ? query : last_query] - first_place);
    return in_window < of_query ? of_query : in_window;
  }
  __device__ bool at(int query, int key) const {
    return key < keys && key <= query + diagonal && (kPlain || key >= first(query));
  }
  /// Under a pattern, of the tile's first 64 keys: which ones a query sees.
  __device__ uint64_t mask(int query) const {
    const int64_t place = place_of_key(query);
    return seen_mask(shape.pattern, shape.sparse_window, place + distance_of_first + query, place) &
           bits_between(0, keys);
  }
  /// Whether each of the tile's first queries sees all, or some of them any, of its first `num_keys` keys.
  __device__ bool all(int num_queries, int num_keys) const {
    return num_keys <= keys && num_keys - 1 <= diagonal && (kPlain || first(num_queries - 1) <= 0);
  }
  __device__ bool any(int num_queries, int num_keys) const {
    if (keys <= 0 || num_queries - 1 + diagonal < 0) return false;
    if (kPlain) return true;
    if (!shape.is_sparse) return first(0) < num_keys;
    // Queries of several documents are taken to see something.
    const int last = num_queries - 1 < last_query ? num_queries - 1 : last_query;
    const int64_t place = place_of_key(0), query = place + distance_of_first;
    if (place != place_of_key(last) || query < 0) return true;
    return next_seen(shape.pattern, shape.sparse_window, query, query + last, place) < place + num_keys;
  }

 private:
  /// Of the tile's first key, in the document of a query; below 0 before it.
  __device__ int64_t place_of_key(int query) const {
    return first_place - (first_keys == nullptr ? 0 : first_keys[query < last_query ? query : last_query]);
  }

  static constexpr int64_t kFar = 1 << 20;  // beyond every tile
  __device__ static int near(int64_t x) { return static_cast<int>(x < -kFar ? -kFar : x > kFar ? kFar : x); }
};

/// Scores where is_visible(row, column) is false become minus infinity.
template <int M, int N, class IsVisible>
__device__ void hide(TileSums (&scores)[M][N], const IsVisible& is_visible) {
  const int g = lane_in_warp() / 4, t = lane_in_warp() % 4;
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        if (!is_visible(16 * m + g + e / 2 * 8, 8 * n + 2 * t + e % 2)) scores[m][n].at[e] = minus_infinity();
      }
    }
  }
}

/// Scores of keys that a query does not see become minus infinity; rows of the tile are queries, of which the
/// first one is `seen`'s, and columns keys.
template <bool kPlain, int M, int N>
__device__ void hide_in_rows(TileSums (&scores)[M][N], const Visibility<kPlain>& seen) {
  static_assert(8 * N <= 64);
  if (kPlain || !seen.shape.is_sparse)
    return hide(scores, [&](int query, int key) { return seen.at(query, key); });
  const int g = lane_in_warp() / 4, t = lane_in_warp() % 4;
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint64_t mask = seen.mask(16 * m + g + 8 * half) >> (2 * t);
#pragma unroll
      for (int n = 0; n < N; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          if ((mask >> (8 * n + e) & 1) == 0) scores[m][n].at[2 * half + e] = minus_infinity();
        }
      }
    }
  }
}

/// The same where rows are keys and columns queries.
template <bool kPlain, int M, int N>
__device__ void hide_in_columns(TileSums (&scores)[M][N], const Visibility<kPlain>& seen) {
  static_assert(16 * M <= 64);
  if (kPlain || !seen.shape.is_sparse)
    return hide(scores, [&](int key, int query) { return seen.at(query, key); });
  const int g = lane_in_warp() / 4, t = lane_in_warp() % 4;
#pragma unroll
  for (int n = 0; n < N; ++n) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const uint64_t mask = seen.mask(8 * n + 2 * t + e) >> g;
#pragma unroll
      for (int m = 0; m < M; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          if ((mask >> (16 * m + 8 * half) & 1) == 0) scores[m][n].at[2 * half + e] = minus_infinity();
        }
      }
    }
  }
}

}  // namespace trireme::ops::cuda

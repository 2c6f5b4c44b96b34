#include "runtime/ops/cpu/attention/attention_kernels.h"

#include <algorithm>
#include <vector>

#include "runtime/ops/cpu/attention/vector_loads.h"
#include "runtime/ops/cpu/cpu_features.h"
#include "runtime/ops/cpu/gemm/vector_square.h"

namespace trireme::ops::cpu {

namespace {

// The sums of a tile stay in registers: up to four rows of up to kMostVectors vectors of kWidth floats.
template <int kWidth, int kMostVectors>
struct AttentionLoops {
  static constexpr int64_t kRows = 4;
  // So many groups ahead of those that are read, memory is asked for: blocks of a cache lie anywhere.
  static constexpr int64_t kAhead = 4;
  using Loads = VectorLoads<kWidth>;
  using Vector = typename Loads::Vector;

  template <int kTile, int kVectors>
  TRIREME_INLINE static void add(const float* a, int64_t stride, const Vector (&values)[kVectors],
                                 Vector (&sums)[kTile][kVectors]) {
#pragma GCC unroll 4
    for (int r = 0; r < kTile; ++r) {
      const float x = a[r * stride];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] += x * values[v];
    }
  }
  template <int kTile, int kVectors>
  TRIREME_INLINE static void store(const Vector (&sums)[kTile][kVectors], float* c, int64_t stride) {
#pragma GCC unroll 4
    for (int r = 0; r < kTile; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) *reinterpret_cast<Vector*>(c + r * stride + v * kWidth) = sums[r][v];
    }
  }

  // Of keys of kVectors vectors from `token` on. The first rows of a tile ask for memory.
  template <int kTile, int kVectors, class B>
  TRIREME_INLINE static void score_tile(const TokenProduct<B>& p, int64_t row, int64_t token) {
    const B *keys[kVectors], *ahead[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = token + v * kWidth, group = at / kTokenGroup, within = at % kTokenGroup;
      const int64_t far = row == 0 ? std::min(group + kAhead, p.tokens.size - 1) : group;
      keys[v] = p.tokens.begin[group] + within;
      ahead[v] = p.tokens.begin[far] + within;
    }
    const float* a = p.a + row * p.stride_a;
    Vector sums[kTile][kVectors] = {};
    for (int64_t i = 0; i < p.head_dim; ++i) {
      Vector values[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        Loads::load(keys[v] + i * p.tokens.stride, values[v]);
        __builtin_prefetch(ahead[v] + i * p.tokens.stride);
      }
      add(a + i, p.stride_a, values, sums);
    }
    store(sums, p.c + row * p.stride_c + token - p.first, p.stride_c);
  }

  // Of `columns` columns from `column` on: fewer than a vector's where kPart.
  template <int kTile, int kVectors, bool kPart, class B>
  TRIREME_INLINE static void value_tile(const TokenProduct<B>& p, int64_t row, int64_t column,
                                        int64_t columns) {
    float* c = p.c + row * p.stride_c + column;
    const float* a = p.a + row * p.stride_a - p.first;
    Vector sums[kTile][kVectors];
#pragma GCC unroll 4
    for (int r = 0; r < kTile; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) Loads::load(c + r * p.stride_c + v * kWidth, sums[r][v]);
    }
    for (int64_t token = p.first; token < p.end;) {
      const int64_t group = token / kTokenGroup, end = std::min((group + 1) * kTokenGroup, p.end);
      const int64_t far = row == 0 ? std::min(group + kAhead, p.tokens.size - 1) : group;
      const B* rows = p.tokens.begin[group] + column;
      const B* ahead = p.tokens.begin[far] + column;
      for (; token < end; ++token) {
        const int64_t at = token % kTokenGroup * p.tokens.stride;
        Vector values[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          if constexpr (kPart) {
            Loads::load_part(rows + at, columns, values[v]);
          } else {
            Loads::load(rows + at + v * kWidth, values[v]);
          }
          __builtin_prefetch(ahead + at + v * kWidth);
        }
        add(a + token, p.stride_a, values, sums);
      }
    }
    store(sums, c, p.stride_c);
  }

  // Calls tile.operator()<rows>(first row) for all rows.
  template <class Tile>
  TRIREME_INLINE static void for_rows(int64_t m, Tile&& tile) {
    int64_t row = 0;
    for (; row + kRows <= m; row += kRows) tile.template operator()<kRows>(row);
    if (m - row == 3) tile.template operator()<3>(row);
    if (m - row == 2) tile.template operator()<2>(row);
    if (m - row == 1) tile.template operator()<1>(row);
  }

  template <int kVectors, class B>
  TRIREME_INLINE static int64_t score_columns(const TokenProduct<B>& p, int64_t token) {
    for (; token + kVectors * kWidth <= p.end; token += kVectors * kWidth) {
      for_rows(
          p.m, [&]<int kTile>(int64_t row)
                   __attribute__((always_inline)) { score_tile<kTile, kVectors>(p, row, token); });
    }
    return token;
  }
  template <int kVectors, class B>
  TRIREME_INLINE static int64_t value_columns(const TokenProduct<B>& p, int64_t column) {
    for (; column + kVectors * kWidth <= p.head_dim; column += kVectors * kWidth) {
      for_rows(
          p.m, [&]<int kTile>(int64_t row) __attribute__((always_inline)) {
            value_tile<kTile, kVectors, false>(p, row, column, kVectors * kWidth);
          });
    }
    return column;
  }

  template <class B>
  TRIREME_INLINE static void score(const TokenProduct<B>& p) {
    int64_t token = score_columns<kMostVectors>(p, p.first);
    if constexpr (kMostVectors > 2) token = score_columns<2>(p, token);
    score_columns<1>(p, token);
  }
  template <class B>
  TRIREME_INLINE static void add_values(const TokenProduct<B>& p) {
    int64_t column = value_columns<kMostVectors>(p, 0);
    if constexpr (kMostVectors > 2) column = value_columns<2>(p, column);
    column = value_columns<1>(p, column);
    if (column == p.head_dim) return;
    for_rows(
        p.m, [&]<int kTile>(int64_t row) __attribute__((always_inline)) {
          value_tile<kTile, 1, true>(p, row, column, p.head_dim - column);
        });
  }

  // Squares of kWidth are transposed in registers, by exchanging ever larger squares within them.
  TRIREME_INLINE static void pack_keys(const float* rows, int64_t stride, int64_t n, int64_t head_dim,
                                       float* __restrict group) {
    int64_t token = 0;
    for (; token + kWidth <= n; token += kWidth) {
      int64_t i = 0;
      for (; i + kWidth <= head_dim; i += kWidth) {
        transpose(rows + token * stride + i, stride, group + i * kTokenGroup + token);
      }
      for (; i < head_dim; ++i) {
        for (int64_t x = token; x < token + kWidth; ++x) group[i * kTokenGroup + x] = rows[x * stride + i];
      }
    }
    for (int64_t i = 0; i < head_dim; ++i) {
      for (int64_t x = token; x < kTokenGroup; ++x) {
        group[i * kTokenGroup + x] = x < n ? rows[x * stride + i] : 0.0f;
      }
    }
  }
  TRIREME_INLINE static void transpose(const float* from, int64_t stride, float* to) {
    VectorSquare<kWidth> square;
#pragma GCC unroll 16
    for (int r = 0; r < kWidth; ++r) {
      __builtin_prefetch(from + r * stride + 4 * kWidth);
      Vector row;
      Loads::load(from + r * stride, row);
      square.rows[r] = row;
    }
    square.transpose();
#pragma GCC unroll 16
    for (int r = 0; r < kWidth; ++r) *reinterpret_cast<Vector*>(to + r * kTokenGroup) = square.rows[r];
  }
};

// Functions for one instruction set and the table of them.
#define TRIREME_ATTENTION_KERNELS(name, target, width, vectors)                                          \
  namespace name {                                                                                       \
  using Loops = AttentionLoops<width, vectors>;                                                          \
  target void score_f32(const TokenProduct<float>& p) { Loops::score(p); }                               \
  target void score_bf16(const TokenProduct<bf16>& p) { Loops::score(p); }                               \
  target void score_f16(const TokenProduct<fp16>& p) { Loops::score(p); }                                \
  target void score_int8(const TokenProduct<int8_t>& p) { Loops::score(p); }                             \
  target void add_f32(const TokenProduct<float>& p) { Loops::add_values(p); }                            \
  target void add_bf16(const TokenProduct<bf16>& p) { Loops::add_values(p); }                            \
  target void add_f16(const TokenProduct<fp16>& p) { Loops::add_values(p); }                             \
  target void add_int8(const TokenProduct<int8_t>& p) { Loops::add_values(p); }                          \
  target void pack(const float* rows, int64_t stride, int64_t n, int64_t head_dim, float* group) {       \
    Loops::pack_keys(rows, stride, n, head_dim, group);                                                  \
  }                                                                                                      \
  constexpr AttentionKernels kTable = {                                                                  \
      {score_f32, add_f32}, {score_bf16, add_bf16}, {score_f16, add_f16}, {score_int8, add_int8}, pack}; \
  }

#if defined(__aarch64__)
TRIREME_ATTENTION_KERNELS(attention_narrowest, , 4, 4)  // NEON: 16 sums in 32 registers
#else
TRIREME_ATTENTION_KERNELS(attention_narrowest, , 4, 2)
#endif
#ifndef TRIREME_ONE_VERSION
TRIREME_ATTENTION_KERNELS(attention_avx2, __attribute__((target("arch=x86-64-v3"))), 8, 2)
TRIREME_ATTENTION_KERNELS(attention_avx512, __attribute__((target("arch=x86-64-v4"))), 16, 4)
#endif

std::vector<const AttentionKernels*> find_attention_kernels() {
  std::vector<const AttentionKernels*> found{&attention_narrowest::kTable};
#ifndef TRIREME_ONE_VERSION
  if (has_x86_64_v3()) found.push_back(&attention_avx2::kTable);
  if (has_x86_64_v4()) found.push_back(&attention_avx512::kTable);
#endif
  return found;
}

}  // namespace

std::span<const AttentionKernels* const> all_attention_kernels() {
  static const std::vector<const AttentionKernels*> all = find_attention_kernels();
  return all;
}

}  // namespace trireme::ops::cpu

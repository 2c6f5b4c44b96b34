// What the bodies of the memory-bound ops share. Their loops exist once, as inlined templates over the
// storage type; functions with versions for several instruction sets cannot be templates, so that each kernel
// is a set of overloads, one a storage type, that do nothing but call the template.
#pragma once

#include <algorithm>

#include "runtime/base/parallel_for.h"
#include "runtime/ops/compute_type.h"
#include "runtime/ops/cpu/vectorize.h"

/// X(float) X(bf16) X(fp16): defines or declares the overloads.
#define TRIREME_EACH_COMPUTE_TYPE(X) X(float) X(bf16) X(fp16)

namespace trireme::ops::cpu {

/// *to = value, rounded. Assigning a bf16 or fp16 object would keep a loop from being vectorised.
TRIREME_INLINE void store(float* to, float value) { *to = value; }
TRIREME_INLINE void store(bf16* to, float value) { to->bits = bf16(value).bits; }
TRIREME_INLINE void store(fp16* to, float value) { to->bits = fp16(value).bits; }

/// Elements a thread takes at least: for fewer, waking it costs more than it saves.
inline constexpr int64_t kGrain = 16384;
inline int64_t row_grain(int64_t width) { return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, width)); }

/// Calls body(begin, end) for ranges that cover [0, n), in threads. Ranges begin at multiples of 1024
/// elements: which elements fall into a loop's vector part, and so how the compiler contracts their
/// arithmetic, does not depend on the number of threads.
template <class Body>
void parallel_elements(Context& ctx, int64_t n, Body&& body) {
  constexpr int64_t kPiece = 1024;
  parallel_for(ctx.num_threads(), (n + kPiece - 1) / kPiece, kGrain / kPiece,
               [&](int64_t begin, int64_t end) { body(begin * kPiece, std::min(n, end * kPiece)); });
}

/// Checks that every one of the i32 indices lies in [0, limit).
void expect_indices(const char* op, const char* argument, const Tensor& indices, int64_t limit);

// Ranges of n elements, on the calling thread. Outputs may be inputs.

#define TRIREME_DECLARE_RANGES(T)                          \
  void scale_range(T* t, float factor, int64_t n);         \
  void add_range(const T* a, const T* b, T* y, int64_t n); \
  void accumulate_range(const T* x, float* y, int64_t n);  \
  void convert_range(const T* from, float* to, int64_t n); \
  void convert_range(const T* from, bf16* to, int64_t n);  \
  void convert_range(const T* from, fp16* to, int64_t n);  \
  double sum_range(const T* t, int64_t n);                 \
  double sum_of_squares_range(const T* t, int64_t n);
TRIREME_EACH_COMPUTE_TYPE(TRIREME_DECLARE_RANGES)
#undef TRIREME_DECLARE_RANGES

}  // namespace trireme::ops::cpu

// What the bodies of the memory-bound ops share. Their loops exist once, as inlined templates over the
// storage type; functions with versions for several instruction sets cannot be templates, so that each kernel
// is a set of overloads, one a storage type, that do nothing but call the template.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>

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

/// Calls task(t, worker) for every t in [0, num_tasks), where `worker` is below `num_threads`. Tasks differ
/// in length, so a thread takes the next one when it is free; which thread has which task is chance. A task
/// may throw: the others are then left, and one of the exceptions comes out.
template <class Task>
void run_in_team(int num_threads, int64_t num_tasks, Task&& task) {
  const int64_t workers = std::min<int64_t>(num_threads, num_tasks);
  std::atomic<int64_t> next = 0;
  std::exception_ptr failure;  // an exception must not leave a thread of the team
  std::atomic_flag has_failed;
  parallel_for(static_cast<int>(workers), workers, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) {
      try {
        for (int64_t t = next++; t < num_tasks; t = next++) task(t, worker);
      } catch (...) {
        next = num_tasks;
        if (!has_failed.test_and_set()) failure = std::current_exception();
      }
    }
  });
  if (failure) std::rethrow_exception(failure);
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

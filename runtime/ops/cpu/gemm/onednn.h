// The matrix products of oneDNN behind plain types.
#pragma once

#include <compare>
#include <cstdint>

#include "runtime/device/context.h"
#include "runtime/tensor/dtype.h"

namespace trireme::ops::cpu::onednn {

/// c[M,N] = alpha * op(a)[M,K] · op(b)[K,N] (+ bias[N]) (+ c), all matrices row-major before op().
struct MatmulProblem {
  int64_t m = 0, n = 0, k = 0;
  int64_t stride_a = 0, stride_b = 0, stride_c = 0;  ///< elements from row to row
  DType in = DType::f32;
  DType out = DType::f32;
  bool transpose_a = false;
  bool transpose_b = false;
  bool has_bias = false;
  bool accumulate = false;
  /// matmul's b comes from pack_b(): for several products with one b.
  bool packed_b = false;
  float alpha = 1.0f;

  friend auto operator<=>(const MatmulProblem&, const MatmulProblem&) = default;
};

/// Whether oneDNN has a fast implementation of the problem for this machine; of f32 it always has one. Throws
/// EnvironmentError with oneDNN's words when it fails, as all of these do.
bool can_multiply(const MatmulProblem& problem);

/// Solves such a problem on the calling thread alone: oneDNN divides the inner dimension among its threads.
void matmul(Context& ctx, const MatmulProblem& problem, const void* a, const void* b, const float* bias,
            void* c);

/// Of a problem with packed_b: what pack_b() writes for b as the problem describes it.
size_t packed_b_bytes(const MatmulProblem& problem);
void pack_b(const MatmulProblem& problem, const void* b, void* packed);

/// Whether oneDNN has a fast implementation of products of this type for this machine.
bool has_matmul(DType dtype);

/// c[M,N] = alpha * op(a)·op(b) + beta * c in float, with the given row lengths (in elements) of the matrices
/// as they lie in memory. Runs on as many threads as OpenMP gives the calling thread, and which numbers are
/// added up first depends on them.
void sgemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
           int64_t stride_a, const float* b, int64_t stride_b, float beta, float* c, int64_t stride_c);

/// For its lifetime, calls from this thread use `n` threads.
class ThreadCount {
 public:
  explicit ThreadCount(int n);
  /// The number in force for this thread.
  static int current();
  ~ThreadCount();
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};

}  // namespace trireme::ops::cpu::onednn

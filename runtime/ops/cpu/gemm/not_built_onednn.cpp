// Stands in for oneDNN in a program built without it: no products of half types, which are then computed in
// fp32, and fp32 products of small sizes from the tiles of float_gemm.cpp.
#include <algorithm>
#include <vector>

#include <omp.h>

#include "runtime/base/error.h"
#include "runtime/base/integers.h"
#include "runtime/ops/cpu/gemm/float_gemm.h"
#include "runtime/ops/cpu/gemm/gemm_kernels.h"
#include "runtime/ops/cpu/gemm/onednn.h"

namespace trireme::ops::cpu::onednn {

namespace {

/// Columns [depth, depth + depths) of op(a) by a panel of op(b).
struct PanelOfProduct {
  int64_t m, n, depths;
  const float* panel;
  float* c;
  int64_t stride_c;
  bool adds;  ///< to what c holds
};

void multiply_panel(bool transpose_a, const FloatRows& a, const PanelOfProduct& p,
                    std::vector<float>& packed_a) {
  const GemmKernels& kernels = gemm_kernels();
  const FloatRows start = p.adds ? FloatRows{p.c, p.stride_c} : FloatRows{};
  if (!transpose_a) return kernels.multiply(p.m, p.n, p.depths, a, p.panel, start, p.c, p.stride_c);
  const int64_t stride = p.depths * kernels.rows;
  packed_a.resize(static_cast<size_t>(ceil_of(p.m, kernels.rows) * stride));
  kernels.pack_transposed_a(a, p.depths, p.m, stride, packed_a.data());
  kernels.multiply_panels(p.m, p.n, p.depths, {packed_a.data(), stride}, p.panel, start, p.c, p.stride_c);
}

void scale_rows(int64_t m, int64_t n, float beta, float* c, int64_t stride_c) {
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t j = 0; j < n; ++j) c[r * stride_c + j] = beta == 0.0f ? 0.0f : beta * c[r * stride_c + j];
  }
}

[[noreturn]] void refuse_product() { TRIREME_CHECK(false, "a product of oneDNN, which is not built"); }

}  // namespace

bool can_multiply(const MatmulProblem& problem) { return problem.in == DType::f32 && !problem.packed_b; }

void matmul(Context&, const MatmulProblem& p, const void* a, const void* b, const float* bias, void* c) {
  TRIREME_CHECK(p.in == DType::f32 && p.out == DType::f32, "matmul: oneDNN is not built");
  auto* to = static_cast<float*>(c);
  sgemm(p.transpose_a, p.transpose_b, p.m, p.n, p.k, p.alpha, static_cast<const float*>(a), p.stride_a,
        static_cast<const float*>(b), p.stride_b, p.accumulate ? 1.0f : 0.0f, to, p.stride_c);
  if (!p.has_bias) return;
  for (int64_t r = 0; r < p.m; ++r) {
    for (int64_t j = 0; j < p.n; ++j) to[r * p.stride_c + j] += bias[j];
  }
}

size_t packed_b_bytes(const MatmulProblem&) { refuse_product(); }
void pack_b(const MatmulProblem&, const void*, void*) { refuse_product(); }
bool has_matmul(DType dtype) { return dtype == DType::f32; }

void sgemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
           int64_t stride_a, const float* b, int64_t stride_b, float beta, float* c, int64_t stride_c) {
  if (beta != 1.0f && (beta != 0.0f || k == 0)) scale_rows(m, n, beta, c, stride_c);
  const GemmKernels& kernels = gemm_kernels();
  std::vector<float> panel(static_cast<size_t>(std::min(k, kProductDepth) * kernels.columns)), packed_a;
  for (int64_t j = 0; j < n; j += kernels.columns) {
    const int64_t columns = std::min(kernels.columns, n - j);
    for (int64_t i = 0; i < k; i += kProductDepth) {
      const int64_t depths = std::min(kProductDepth, k - i);
      const FloatRows from = {b + (transpose_b ? j * stride_b + i : i * stride_b + j), stride_b};
      kernels.pack_b(transpose_b, from, depths, columns, alpha, panel.data());
      const FloatRows rows = {a + (transpose_a ? i * stride_a : i), stride_a};
      multiply_panel(transpose_a, rows,
                     {m, columns, depths, panel.data(), c + j, stride_c, beta != 0.0f || i > 0}, packed_a);
    }
  }
}

int ThreadCount::current() { return omp_get_max_threads(); }

ThreadCount::ThreadCount(int n) : before_(current()) {
  if (n != before_) omp_set_num_threads(n);
}
ThreadCount::~ThreadCount() {
  if (before_ != current()) omp_set_num_threads(before_);
}

}  // namespace trireme::ops::cpu::onednn

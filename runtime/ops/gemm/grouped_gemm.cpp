#include "runtime/ops/gemm/grouped_gemm.h"

#include <numeric>

namespace trireme::ops {

namespace {

// x[R,I], w[E * O, I], y[R,O].
void check(const char* op, const Tensor& x, std::span<const int64_t> counts, const Tensor& w,
           const Tensor& y) {
  const auto num_experts = static_cast<int64_t>(counts.size());
  expect_compute_type(op, "rows", x);
  expect_dtype(op, "results", y, x.dtype());
  TRIREME_CHECK(x.shape().rank() == 2 && y.shape().rank() == 2 && w.shape().rank() == 2 && num_experts > 0,
                "{}: {} by {} to {} for {} experts", op, to_string(x.shape()), to_string(w.shape()),
                to_string(y.shape()), num_experts);
  expect_shape(op, "matrices", w, {num_experts * y.dim(1), x.dim(1)});
  const int64_t rows = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  TRIREME_CHECK(x.dim(0) == rows && y.dim(0) == rows, "{}: {} and {} rows, counts of {}", op, x.dim(0),
                y.dim(0), rows);
}

/// Each row of x[R,I] meets one matrix and becomes one of O elements.
OpWork work_of(const Tensor& x, int64_t out, const Tensor& rewritten = {}) {
  OpWork work;
  work.flops = 2.0 * static_cast<double>(x.numel()) * static_cast<double>(out);
  work.rewritten_bytes = bytes_of(rewritten);
  return work;
}

}  // namespace

void grouped_linear(Context& ctx, const Tensor& x, std::span<const int64_t> counts, const Tensor& w,
                    const Tensor& y) {
  check("grouped_linear", x, counts, w, y);
  expect_dtype("grouped_linear", "matrices", w, x.dtype());
  if (x.dim(0) == 0) return;
  TRIREME_DISPATCH_WORK(work_of(x, y.dim(1)), grouped_linear, ctx, x, counts, w, y);
}

void grouped_linear_backward_input(Context& ctx, const Tensor& dy, std::span<const int64_t> counts,
                                   const Tensor& w, const Tensor& dx) {
  check("grouped_linear_backward_input", dx, counts, w, dy);
  expect_dtype("grouped_linear_backward_input", "matrices", w, dx.dtype());
  if (dx.dim(0) == 0) return;
  TRIREME_DISPATCH_WORK(work_of(dx, dy.dim(1)), grouped_linear_backward_input, ctx, dy, counts, w, dx);
}

void grouped_linear_backward_weight(Context& ctx, const Tensor& dy, const Tensor& x,
                                    std::span<const int64_t> counts, const Tensor& dw) {
  check("grouped_linear_backward_weight", x, counts, dw, dy);
  expect_dtype("grouped_linear_backward_weight", "dw", dw, DType::f32);
  if (x.dim(0) == 0) return;
  TRIREME_DISPATCH_WORK(work_of(x, dy.dim(1), dw), grouped_linear_backward_weight, ctx, dy, x, counts, dw);
}

}  // namespace trireme::ops

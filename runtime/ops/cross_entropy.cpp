#include "runtime/ops/cross_entropy.h"

namespace trireme::ops {

void cross_entropy(Context& ctx, const Tensor& logits, const Tensor& targets, float gradient_scale,
                   const Tensor& loss, const Tensor& dlogits) {
  const char* op = "cross_entropy";
  TRIREME_CHECK(logits && logits.shape().rank() == 2, "{}: logits are no matrix", op);
  expect_compute_type(op, "logits", logits);
  const int64_t n = logits.dim(0);
  expect_shape(op, "targets", targets, {n});
  expect_dtype(op, "targets", targets, DType::i32);
  expect_shape(op, "loss", loss, {n});
  expect_dtype(op, "loss", loss, DType::f32);
  if (dlogits) {
    expect_shape(op, "dlogits", dlogits, logits.shape());
    expect_dtype(op, "dlogits", dlogits, logits.dtype());
  }
  if (n == 0) return;
  TRIREME_DISPATCH(cross_entropy, ctx, logits, targets, gradient_scale, loss, dlogits);
}

}  // namespace trireme::ops

#include "runtime/ops/attention/attention_merge.h"

namespace trireme::ops {

void merge_attention(Context& ctx, const Tensor& part, const Tensor& part_lse, int64_t first,
                     const Tensor& out, const Tensor& lse) {
  const char* op = "merge_attention";
  TRIREME_CHECK(out && out.shape().rank() == 2, "{}: out is no matrix", op);
  TRIREME_CHECK(lse && lse.shape().rank() == 3, "{}: lse is not [batch, heads, queries]", op);
  TRIREME_CHECK(part_lse && part_lse.shape().rank() == 3, "{}: part_lse is not [batch, heads, queries]", op);
  const int64_t batch = lse.dim(0), heads = lse.dim(1), n = part_lse.dim(2);
  TRIREME_CHECK(heads > 0 && out.dim(1) % heads == 0, "{}: {} columns are no {} heads", op, out.dim(1),
                heads);
  TRIREME_CHECK(0 <= first && first + n <= lse.dim(2), "{}: queries [{}, {}) of {}", op, first, first + n,
                lse.dim(2));
  expect_shape(op, "out", out, {batch * lse.dim(2), out.dim(1)});
  expect_shape(op, "part", part, {batch * n, out.dim(1)});
  expect_shape(op, "part_lse", part_lse, {batch, heads, n});
  expect_compute_type(op, "part", part);
  for (const auto& [name, t] : {std::pair{"out", &out}, {"lse", &lse}, {"part_lse", &part_lse}})
    expect_dtype(op, name, *t, DType::f32);
  TRIREME_DISPATCH(merge_attention, ctx, part, part_lse, first, out, lse);
}

}  // namespace trireme::ops

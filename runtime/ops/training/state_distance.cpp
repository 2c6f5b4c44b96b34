#include "runtime/ops/training/state_distance.h"

namespace trireme::ops {

void state_distance(Context& ctx, const Tensor& states, const Tensor& teacher, const Tensor& targets,
                    const Tensor& weights, const StateDistanceOptions& options, const Tensor& added,
                    const Tensor& dstates) {
  const char* op = "state_distance";
  expect_matrix(op, "states", states);
  expect_compute_type(op, "states", states);
  const Shape rows{states.dim(0)};
  expect_shape(op, "teacher", teacher, states.shape());
  expect_compute_type(op, "teacher", teacher);
  expect_shape(op, "targets", targets, rows);
  expect_dtype(op, "targets", targets, DType::i32);
  expect_shape(op, "added", added, rows);
  expect_dtype(op, "added", added, DType::f32);
  if (weights) {
    expect_shape(op, "weights", weights, rows);
    expect_dtype(op, "weights", weights, DType::f32);
  }
  if (dstates) {
    expect_shape(op, "dstates", dstates, states.shape());
    expect_dtype(op, "dstates", dstates, states.dtype());
  }
  if (states.numel() == 0) return;
  TRIREME_DISPATCH(state_distance, ctx, states, teacher, targets, weights, options, added, dstates);
}

}  // namespace trireme::ops

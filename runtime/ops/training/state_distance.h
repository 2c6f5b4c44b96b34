// How far a student's hidden states are from a teacher's.
#pragma once

#include "runtime/ops/dispatch.h"
#include "runtime/ops/training/cross_entropy.h"

namespace trireme::ops {

struct StateDistanceOptions {
  float coefficient = 1;
  float gradient_scale = 1;
};

/// The mean squared difference of rows of states and a teacher's, [N,C] in compute types of their own, each
/// row divided by its root mean square first: 2 - 2 cos of the angle between them (the cosine loss of
/// DistilBERT, arXiv 1910.01108, section 3), which no scale of either model changes. added [N] f32 = the
/// coefficient times it, times the row's weight; dstates ([N,C] in the states' type; may be absent) is added
/// gradient_scale times the gradient of the sum of that. Rows of ignored targets [N] i32, or of weight 0 ([N]
/// f32, absent: 1 each), have none.
void state_distance(Context& ctx, const Tensor& states, const Tensor& teacher, const Tensor& targets,
                    const Tensor& weights, const StateDistanceOptions& options, const Tensor& added,
                    const Tensor& dstates);
TRIREME_OP_BODIES(state_distance, Context& ctx, const Tensor& states, const Tensor& teacher,
                  const Tensor& targets, const Tensor& weights, const StateDistanceOptions& options,
                  const Tensor& added, const Tensor& dstates)

/// Keeps rows of zeros finite, beside a mean of squares.
inline constexpr double kStateEpsilon = 1e-12;

/// dstates_j += of_teacher * teacher_j + of_states * states_j, from sums over a row.
struct StateDistance {
  double distance, of_teacher, of_states;
};
/// `scale` times the distance; roots of the mean squares, and the mean of the products.
constexpr StateDistance state_distance_of(double scale, double rms, double teacher_rms, double products,
                                          int64_t width) {
  const double cosine = products / (rms * teacher_rms), each = 2 * scale / (static_cast<double>(width) * rms);
  return {scale * (2 - 2 * cosine), -each / teacher_rms, each * cosine / rms};
}

}  // namespace trireme::ops

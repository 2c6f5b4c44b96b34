// Objective: the training loss, from logits and targets.
#pragma once

#include "parallel/module/teacher_rows.h"
#include "parallel/tensor_parallel/tensor_parallel.h"
#include "runtime/ops/dispatch.h"

namespace trireme {

/// Of some rows of a micro-batch, as a head makes them.
struct RowLogits {
  ops::Columns columns;  ///< this tensor-parallel rank's share of the vocabulary: tensor.part(vocab_size)
  int64_t vocab_size = 0;
  float soft_cap = 0;  ///< of what is in `columns`; 0: none
};

/// What they are to learn.
struct RowTargets {
  Tensor ids;               ///< [rows] i32; ops::kIgnoredTarget counts for nothing
  Tensor weights;           ///< [rows] f32: factors on the rows' losses; absent: 1 each
  RowTeacher teacher = {};  ///< what a teacher says of the rows; may be absent

  /// Rows [begin, end), without the teacher.
  RowTargets slice(int64_t begin, int64_t end) const {
    return {ids.slice(begin, end), weights ? weights.slice(begin, end) : Tensor()};
  }
};

/// What an objective adds to, each [1] f64 or absent.
struct LossSums {
  Tensor loss;   ///< what is shown, and compared with that of an evaluation: cross-entropies, or one's own
  Tensor added;  ///< all else that is minimised
};

/// Rows do not depend on one another: a head may come with all of a micro-batch or with some after others.
/// One objective serves several micro-batches; it keeps nothing of them.
class Objective {
 public:
  virtual ~Objective() = default;
  /// Adds the rows' losses, each times its weight, to `sums`, equal on all tensor-parallel ranks, which call
  /// it together. dlogits (absent, or laid out as the logits, or those themselves) becomes gradient_scale
  /// times the gradient of all that is minimised, summed over rows with their weights.
  virtual void apply(Context& ctx, const TensorParallel& tensor, const RowLogits& logits,
                     const RowTargets& targets, float gradient_scale, const LossSums& sums,
                     const ops::Columns& dlogits) const = 0;
  /// Coefficient of ops::state_distance between the head's normed rows and a teacher's states, which the head
  /// minimises besides.
  virtual double states_weight() const { return 0; }
};

}  // namespace trireme

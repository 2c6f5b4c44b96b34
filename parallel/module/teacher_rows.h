// TeacherRows: what a teacher says of the tokens of a micro-batch, for distillation.
#pragma once

#include <cstdint>

#include "runtime/ops/dispatch.h"
#include "runtime/tensor/tensor.h"

namespace trireme {

/// Of some rows: either `logits`, or `ids` and `probabilities`.
struct RowTeacher {
  /// The teacher's logits, [rows, V / ranks] in the compute type: the same columns of the vocabulary that
  /// this tensor-parallel rank has of the student's. Columns of tokens that the teacher does not have are
  /// -inf.
  ops::Columns logits = {};
  float soft_cap = 0;  ///< of what is in `logits`; 0: none
  /// Few tokens of a row: [rows, k] i32, none twice, on all tensor-parallel ranks; -1: no token (its
  /// probability is 0). Probabilities [rows, k] f32, of the teacher at temperature 1 or as it was written.
  Tensor ids = {}, probabilities = {};
  /// Whether the probabilities sum to less than 1 by what other tokens have (top-k): the rest is one more
  /// outcome of teacher and student. Else they are an unbiased estimate of the whole distribution (sampled).
  bool has_rest = false;
  /// The teacher's last hidden states behind its final norm, [rows, C of the teacher]; may be absent.
  Tensor states = {};

  explicit operator bool() const { return bool(logits) || bool(ids); }
};

class TeacherRows {
 public:
  virtual ~TeacherRows() = default;
  /// Of rows [begin, end) of the micro-batch (of this rank's share of its tokens). All tensor-parallel ranks
  /// of the last stage call it together, in one order.
  virtual RowTeacher rows(Context& ctx, int64_t begin, int64_t end) const = 0;
};

}  // namespace trireme

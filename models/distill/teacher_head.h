// TeacherHead: the last layer of a teacher, on the ranks of its student's last stage.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "models/config/model_config.h"
#include "parallel/checkpoint/weights/weight_source.h"
#include "parallel/module/teacher_rows.h"
#include "parallel/tensor_parallel/tensor_parallel.h"
#include "runtime/device/context.h"

namespace trireme {

/// Whatever layout a teacher runs in, what reaches its student are hidden states, C numbers of a token, and
/// not V logits: each rank of the student's last stage has the teacher's output matrix for its own columns of
/// the vocabulary, and makes logits of as many rows as its head asks for at once.
class TeacherHead {
 public:
  /// `student_vocab`: rows of the student's token table. Tokens from `common` on are not compared: their
  /// columns are -inf. The matrix is held in `compute_type`. All ranks of `tensor` make one.
  TeacherHead(Context& ctx, const TensorParallel& tensor, const WeightSource& source,
              const ModelConfig& teacher, int64_t student_vocab, int64_t common, DType compute_type);

  /// states [rows, C of the teacher], behind its final norm; given back in the matrix' type.
  RowTeacher rows(Context& ctx, const Tensor& states) const;
  int64_t bytes() const;

 private:
  TensorParallel tensor_;
  int64_t student_vocab_, common_;
  float soft_cap_ = 0;
  Tensor matrix_;  // [V of the student / ranks, C of the teacher]
};

}  // namespace trireme

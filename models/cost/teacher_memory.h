// Predicted bytes of what a teacher takes of a rank, in distillation.
#pragma once

#include <cstdint>

#include "models/config/model_config.h"
#include "parallel/plan/parallel_plan.h"
#include "runtime/tensor/dtype.h"

namespace trireme {

struct TeacherMemory {
  int64_t weights = 0;      ///< of its layers, and of the head beside the student's
  int64_t activations = 0;  ///< states that are kept, and the larger of a pass and of logits

  friend bool operator==(const TeacherMemory&, const TeacherMemory&) = default;
};

struct TeacherInputs {
  ModelConfig model;
  ParallelPlan plan;  ///< data: set
  DType precision = DType::f32;
  double bytes_per_weight = 4;  ///< of matrices, on average
  bool is_here = true;          ///< its layers are on the rank too; else it has ranks of its own
  int64_t micro_batch = 1, seq_len = 1;
  // Of the student:
  ParallelPlan student;
  int64_t student_vocab = 0;
  DType student_precision = DType::f32;
  int64_t micro_batches = 1;  ///< of a replica in a step
  int64_t logit_rows = 1;     ///< whose logits there are at once
};

/// Of the rank with the most. Layers count as evenly divided over the pipeline; experts over expert and
/// tensor ranks.
TeacherMemory teacher_memory(const TeacherInputs& inputs);
/// Of a rank of a teacher's own: weights, a pass, and the states of the steps that are made and sent.
int64_t own_rank_bytes(const TeacherInputs& inputs);

}  // namespace trireme

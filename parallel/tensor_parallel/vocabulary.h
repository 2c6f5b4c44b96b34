// Vocabulary-parallel logits and cross-entropy.
#pragma once

#include "parallel/tensor_parallel/tensor_parallel.h"
#include "runtime/ops/dispatch.h"
#include "runtime/ops/training/cross_entropy.h"
#include "runtime/ops/training/distillation.h"

namespace trireme {

/// Room for logits[rows, this rank's columns of vocab_size], whose rows lie aligned_row_stride apart.
ops::Columns empty_logits(Context& ctx, const TensorParallel& tensor, int64_t vocab_size, int64_t rows,
                          DType dtype);

/// Cross-entropy of logits[N,V/size], this rank's columns, without gathering them: four numbers per row
/// travel (arXiv 1909.08053, section 3, with the maximum and the sum merged as in online softmax, arXiv
/// 1805.02867, and the logits' sum for label smoothing). Arguments otherwise as ops::cross_entropy; targets
/// count over all `vocab_size` columns, loss and added are equal on all ranks bit for bit, dlogits are this
/// rank's columns.
void vocabulary_cross_entropy(Context& ctx, const TensorParallel& tensor, int64_t vocab_size,
                              const ops::Columns& logits, const Tensor& targets,
                              const ops::CrossEntropyOptions& options, const Tensor& loss,
                              const ops::Columns& dlogits, const Tensor& added = {},
                              const Tensor& weights = {});

/// ops::distillation of logits[N,V/size] and the teacher's same columns, or its few tokens, which count over
/// all `vocab_size` columns. Eight numbers a row travel, and then two. Otherwise as vocabulary_cross_entropy.
void vocabulary_distillation(Context& ctx, const TensorParallel& tensor, int64_t vocab_size,
                             const ops::Columns& logits, const Tensor& targets,
                             const ops::TeacherOfRows& teacher, const ops::DistillationOptions& options,
                             const Tensor& loss, const ops::Columns& dlogits, const Tensor& added = {},
                             const Tensor& weights = {});

/// All vocab_size columns on every rank, from each one's own: for generation and for those who compare, not
/// for training.
Tensor gather_logits(Context& ctx, const TensorParallel& tensor, int64_t vocab_size, const Tensor& logits);

}  // namespace trireme

#include "parallel/tensor_parallel/vocabulary.h"

#include "runtime/ops/elementwise.h"

namespace trireme {

ops::Columns empty_logits(Context& ctx, const TensorParallel& tensor, int64_t vocab_size, int64_t rows,
                          DType dtype) {
  const int64_t columns = tensor.part(vocab_size).size();
  return {Tensor::empty(ctx, {rows, aligned_row_stride(columns)}, dtype), 0, columns};
}

void vocabulary_cross_entropy(Context& ctx, const TensorParallel& tensor, int64_t vocab_size,
                              const ops::Columns& logits, const Tensor& targets,
                              const ops::CrossEntropyOptions& options, const Tensor& loss,
                              const ops::Columns& dlogits, const Tensor& added, const Tensor& weights) {
  if (tensor.size() == 1) {  // one pass fewer over the logits
    return ops::cross_entropy(ctx, logits, targets, options, loss, dlogits, added, weights);
  }
  const int64_t rows = logits.rows();
  const ops::TablePart part{tensor.part(vocab_size).begin, vocab_size};
  const Shape shape{tensor.size(), rows, ops::kCrossEntropyStatistics};
  const Tensor all = Tensor::empty(ctx, shape, DType::f32, MemoryCategory::buffers);
  const Tensor own = all.slice(tensor.rank(), tensor.rank() + 1).view({rows, ops::kCrossEntropyStatistics});
  ops::cross_entropy_statistics(ctx, logits, targets, part, options, own);
  tensor.group().all_gather(ctx.stream(), own, all);
  ops::cross_entropy_of_part(ctx, logits, targets, part, options, all, loss, dlogits, added, weights);
}

void vocabulary_distillation(Context& ctx, const TensorParallel& tensor, int64_t vocab_size,
                             const ops::Columns& logits, const Tensor& targets,
                             const ops::TeacherOfRows& teacher, const ops::DistillationOptions& options,
                             const Tensor& loss, const ops::Columns& dlogits, const Tensor& added,
                             const Tensor& weights) {
  const int64_t rows = logits.rows();
  const ops::TablePart part{tensor.part(vocab_size).begin, vocab_size};
  // All ranks' numbers, of which `find` makes this rank's.
  const auto gathered = [&](int64_t numbers, const auto& find) {
    const Tensor all =
        Tensor::empty(ctx, {tensor.size(), rows, numbers}, DType::f32, MemoryCategory::buffers);
    const Tensor own = all.slice(tensor.rank(), tensor.rank() + 1).view({rows, numbers});
    find(own);
    if (tensor.size() > 1) tensor.group().all_gather(ctx.stream(), own, all);
    return all;
  };
  const Tensor statistics = gathered(ops::kDistillationStatistics, [&](const Tensor& own) {
    ops::distillation_statistics(ctx, logits, targets, part, teacher, options, own);
  });
  const Tensor sums = gathered(ops::kDivergenceSums, [&](const Tensor& own) {
    ops::distillation_divergence(ctx, logits, targets, part, teacher, options, statistics, own);
  });
  ops::distillation(ctx, logits, targets, part, teacher, options, statistics, sums, loss, dlogits, added,
                    weights);
}

Tensor gather_logits(Context& ctx, const TensorParallel& tensor, int64_t vocab_size, const Tensor& logits) {
  if (tensor.size() == 1) return logits;
  const Tensor all = Tensor::empty(ctx, {logits.dim(0), vocab_size}, logits.dtype());
  for (int rank = 0; rank < tensor.size(); ++rank) {
    const Part part = tensor.part_of_rank(vocab_size, rank);
    const bool own = rank == tensor.rank();
    const Tensor columns = own ? logits : Tensor::empty(ctx, {logits.dim(0), part.size()}, logits.dtype());
    tensor.group().broadcast(ctx.stream(), columns, rank);
    ops::copy_columns(ctx, {columns, 0, part.size()}, {all, part.begin, part.size()});
  }
  return all;
}

}  // namespace trireme

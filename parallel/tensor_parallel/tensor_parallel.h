// TensorParallel: what a layer needs to shard itself (Megatron-LM, arXiv 1909.08053;
// sequence parallelism, arXiv 2205.05198).
#pragma once

#include <functional>

#include "parallel/module/micro_batch.h"
#include "parallel/module/parameter.h"
#include "parallel/plan/parallel_context.h"

namespace trireme {

/// A small value that layers keep. Between a column-parallel and a row-parallel layer each rank holds all
/// rows (tokens) of its own part of the width; outside, in the norms and the residual stream, the whole width
/// of all rows, or under sequence parallelism of its own share of the rows. gather() and reduce() lead from
/// one region to the other, and each is the other's backward pass.
class TensorParallel {
 public:
  /// `group` outlives all copies.
  explicit TensorParallel(Communicator& group, bool sequence = false, int num_chunks = 1)
      : group_(&group), sequence_(sequence), num_chunks_(group.size() == 1 ? 1 : num_chunks) {}
  explicit TensorParallel(const ParallelContext& parallel)
      : TensorParallel(parallel.tensor(), parallel.plan().sequence, parallel.plan().tensor_chunks) {}

  Communicator& group() const { return *group_; }
  int rank() const { return group_->rank(); }
  int size() const { return group_->size(); }

  /// Which of n things a rank holds: neighbours in the order of the ranks, sizes that differ by one at most.
  Part part(int64_t n) const { return part_of_rank(n, rank()); }
  Part part_of_rank(int64_t n, int rank) const { return {n * rank / size(), n * (rank + 1) / size()}; }

  /// Whether each rank holds its own rows of this micro-batch outside the parallel layers: under sequence
  /// parallelism. Those of a paged batch never are, however many: few, and some of them have no logits. Rows
  /// that do not divide are held whole where nothing is trained; in training they are a defect (the
  /// configuration was checked).
  bool shards_rows(const TokenBatch& batch) const;

  /// All rows, from x: this rank's own where rows are sharded, else x itself.
  Tensor gather(Context& ctx, const Tensor& x, bool sharded) const;
  /// The sum over the ranks of y (all rows, overwritten): this rank's own rows of it where rows are sharded,
  /// else all.
  Tensor reduce(Context& ctx, const Tensor& y, bool sharded) const;

  /// Works on some rows of all: reads `values`, or makes them. Rows do not depend on one another.
  using RowsProduct = std::function<void(Part rows, const Tensor& values)>;

  /// reduce() of y [rows, width], which `make` fills. In chunks: while one is summed the next is made.
  Tensor reduce_product(Context& ctx, const Shape& y, DType dtype, bool sharded,
                        const RowsProduct& make) const;
  /// Hands all rows of gather(x) to `use`. In chunks: this rank's own rows first and then the others', each
  /// chunk while the next is gathered. Returns gather(x), where `keep` asks for it.
  Tensor gather_product(Context& ctx, const Tensor& x, bool sharded, bool keep, const RowsProduct& use) const;

 private:
  Tensor sum_chunks(Context& ctx, const Shape& y, DType dtype, const RowsProduct& make) const;
  Tensor scatter_chunks(Context& ctx, const Shape& y, DType dtype, const RowsProduct& make) const;
  Tensor gather_chunks(Context& ctx, const Tensor& x, bool keep, const RowsProduct& use) const;

  Communicator* group_;
  bool sequence_;
  int num_chunks_;
};

}  // namespace trireme

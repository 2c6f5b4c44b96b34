// ExpertRows: which rows of a micro-batch a rank dispatches to experts.
#pragma once

#include "parallel/expert_parallel/expert_parallel.h"

namespace trireme {

/// The tensor-parallel ranks divide the rows of a micro-batch among themselves before experts see them:
/// neighbours of ExpertParallel::width() pass the same ones. Where an expert is as wide as the tensor axis
/// all ranks pass all rows. Outside lie all rows, or the rank's own under sequence parallelism; a small
/// value. The rows of a paged batch are those of all ranks that exchange rows, which divide them once more:
/// no expert computes a row twice, and a rank may pass none.
class ExpertRows {
 public:
  ExpertRows(const TensorParallel& tensor, const ExpertParallel& experts, const MicroBatch& micro_batch);

  /// Rows of the micro-batch.
  int64_t num_all() const { return num_all_; }
  /// Those that this rank passes, and those among them that no other tensor-parallel rank has as its own.
  const Part& passed() const { return passed_; }
  const Part& own() const { return own_; }
  /// The own ones of a tensor of the passed ones.
  Tensor own_of(const Tensor& passed) const {
    return passed.slice(own_.begin - passed_.begin, own_.end - passed_.begin);
  }
  /// Whether each rank has its own rows outside.
  bool sharded() const { return sharded_; }

  /// The rows to pass, from those outside.
  Tensor take(Context& ctx, const Tensor& x) const;
  /// The rows outside, from what each rank has added up for those that it passed (overwritten).
  Tensor give(Context& ctx, const Tensor& y) const;

 private:
  TensorParallel tensor_, width_;
  bool sharded_;
  int64_t num_all_;
  Part passed_, own_;
  Communicator* sharing_ = nullptr;  // where ranks have divided equal rows: those that do
};

}  // namespace trireme

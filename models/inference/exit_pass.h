// ExitPass: a pass of a CachedModel in which rows leave at exits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/inference/cached_model.h"

namespace trireme {

/// By the model's ExitRule, block by block: keys and values of rows that have left are stored before those
/// that go on attend, so that a row finds what it would find if each was a pass of its own. Whether a row
/// leaves follows from the rows before it in its sequence alone; the first rank says it to all.
class ExitPass {
 public:
  /// All outlive it.
  ExitPass(Context& ctx, CachedModel& model, std::span<const SequenceChunk> chunks);

  /// CachedModel::logits(): those of rows that left are their exit's.
  Tensor logits();

 private:
  struct Row {
    size_t chunk = 0;
    int64_t offset = 0;  // of the chunk's tokens
    int64_t logit = -1;  // row of the result; -1: not asked for
    bool may_leave = false;
  };
  /// Rows with their streams.
  struct Rows {
    std::vector<Row> rows;
    Tensor x;
  };

  std::vector<SequenceChunk> runs(std::span<const Row> rows) const;
  void leave(int64_t exit);
  std::vector<int32_t> confident(const Tensor& logits) const;
  void keep_logits(const Tensor& logits, std::span<const int64_t> to);
  Rows taken(const Rows& from, std::span<const int32_t> which) const;
  static void append(Context& ctx, Rows& to, Rows more);

  Context& ctx_;
  CachedModel& model_;
  std::span<const SequenceChunk> chunks_;
  Rows going_, left_;
  int64_t num_logits_ = 0;
  Tensor logits_;
};

}  // namespace trireme

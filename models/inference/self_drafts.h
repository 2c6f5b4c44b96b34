// SelfDrafts: drafts by the first blocks of the model that checks them.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "models/inference/cached_model.h"
#include "models/inference/first_rank.h"
#include "models/inference/scheduler.h"
#include "models/inference/speculation/draft_rule.h"

namespace trireme {

/// GeneratorOptions::draft_blocks. Each token of a draft takes the first blocks and the head; the check takes
/// the other blocks, from the streams that are kept. A draft ends where its next token does not pay
/// (DraftRule), or, with `least_likely` above 0, where its tokens and the next are together less likely to be
/// right.
class SelfDrafts {
 public:
  /// UserError (usage) over pipeline stages, and with an ExitRule. `model` and `first` outlive it.
  SelfDrafts(CachedModel& model, const FirstRank& first, const ParallelContext& parallel, int64_t blocks,
             double least_likely, int64_t vocab_size);

  /// Writes the drafts of the batch, whose chunks are a token of a text each, and counts what came of them
  /// (num_drafts, num_logits): at most as many as there were. All ranks call it.
  void write(Context& ctx, std::span<ScheduledChunk> batch);
  /// The logits of all tokens and drafts, after write(): CachedModel::logits() bit for bit.
  Tensor logits(Context& ctx, std::span<const SequenceChunk> chunks);
  /// So many drafts of chunk `index` of the last write() were right.
  void learn(size_t index, int64_t accepted);
  /// What the last write() took beyond the first blocks of the tokens themselves.
  double seconds() const { return seconds_; }

 private:
  void guess(Context& ctx, const Tensor& x, std::span<ScheduledChunk> batch, int64_t depth);
  Tensor in_order(Context& ctx, std::span<const SequenceChunk> chunks) const;

  CachedModel& model_;
  const FirstRank& first_;
  int64_t blocks_;
  double least_likely_;
  DraftRule rule_;
  int64_t vocab_size_;
  double seconds_ = 0;
  // Of a pass: streams of the tokens, of the first drafts, and so on, each of the chunks that have one.
  std::vector<Tensor> streams_;
  std::vector<std::vector<size_t>> of_chunk_;
  struct Draft {
    double chance = 1;                // of all its tokens to be right
    std::vector<double> confidences;  // of each, by the exit
  };
  std::vector<Draft> drafts_;  // of each chunk, on the first rank
  std::vector<SequenceChunk> steps_;
  std::vector<int32_t> message_;  // a token for each chunk that is asked; -1: none
};

}  // namespace trireme

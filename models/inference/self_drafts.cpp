#include "models/inference/self_drafts.h"

#include <chrono>
#include <cmath>

#include "models/inference/draw_tokens.h"
#include "models/inference/row_scores.h"
#include "runtime/base/error.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/permute.h"

namespace trireme {

SelfDrafts::SelfDrafts(CachedModel& model, const FirstRank& first, const ParallelContext& parallel,
                       int64_t blocks, double least_likely, int64_t vocab_size)
    : model_(model),
      first_(first),
      blocks_(blocks),
      least_likely_(least_likely),
      rule_(draft_costs(model.model().config(), blocks)),
      vocab_size_(vocab_size) {
  if (parallel.plan().pipeline > 1) {
    throw_usage(
        "parallel.pipeline is {}: drafts of the model's first blocks need the head beside them on every "
        "rank; "
        "allowed: 1 (tensor and expert parallelism divide the model), or drafts of another kind",
        parallel.plan().pipeline);
  }
  if (model.options().exit.confidence > 0) {
    throw_usage(
        "drafts of the first {} blocks, and rows that leave at exits above {:g}: the drafts are checked by "
        "all blocks; use one of the two",
        blocks, model.options().exit.confidence);
  }
  TRIREME_CHECK(blocks > 0 && blocks < model.model().spec().num_blocks(), "drafts of {} blocks of {}", blocks,
                model.model().spec().num_blocks());
}

void SelfDrafts::write(Context& ctx, std::span<ScheduledChunk> batch) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point begin;
  streams_.clear();
  of_chunk_.clear();
  drafts_.resize(batch.size());
  for (Draft& draft : drafts_) {
    draft.chance = 1;
    draft.confidences.clear();
  }
  for (int64_t depth = 0;; ++depth) {
    steps_.clear();
    std::vector<size_t>& open = of_chunk_.emplace_back();
    for (size_t i = 0; i < batch.size(); ++i) {
      if (batch[i].num_drafts < depth) continue;
      const Sequence& s = *batch[i].sequence;
      TRIREME_CHECK(s.is_decoding() && batch[i].num_tokens == 1, "a draft for {} tokens of request {}",
                    batch[i].num_tokens, s.number);
      const int32_t* token = depth == 0 ? &s.tokens.back() : &s.drafts[static_cast<size_t>(depth - 1)];
      open.push_back(i);
      steps_.push_back({.tokens = {token, 1}, .start = s.computed + depth, .blocks = s.blocks});
    }
    if (open.empty()) break;
    streams_.push_back(model_.streams(ctx, steps_, {}, 0, blocks_));
    if (depth == 0) begin = Clock::now();
    guess(ctx, streams_.back(), batch, depth);
  }
  of_chunk_.pop_back();
  seconds_ = std::chrono::duration<double>(Clock::now() - begin).count();
}

// The token at `depth` of those drafts that go so far.
void SelfDrafts::guess(Context& ctx, const Tensor& x, std::span<ScheduledChunk> batch, int64_t depth) {
  std::vector<size_t> asked;
  std::vector<int32_t> rows;
  const std::vector<size_t>& open = of_chunk_.back();
  for (size_t row = 0; row < open.size(); ++row) {
    if (batch[open[row]].num_drafts == depth) continue;
    asked.push_back(open[row]);
    rows.push_back(static_cast<int32_t>(row));
  }
  if (asked.empty()) return;
  const auto count = std::ssize(asked);
  Tensor of_asked = x;
  if (asked.size() < open.size()) {
    of_asked = Tensor::empty(ctx, {count, x.dim(1)}, x.dtype());
    ops::combine_rows(ctx, x, ops::to_device(ctx, rows, {count, 1}), {}, of_asked);
  }
  const Tensor logits = model_.head(ctx, of_asked);
  message_.assign(asked.size(), -1);
  if (first_.is_this()) {
    const auto num_texts = std::ssize(batch);
    const HostLogits host(ctx, logits, vocab_size_);
    for_each_row(ctx, count, [&](int64_t i) {
      const ops::cpu::LargestLogit largest = ops::cpu::largest_logit(host.row(i));
      if (!largest.is_sound) return;  // nothing is guessed; who draws says it
      const auto token = static_cast<int32_t>(largest.index);
      Draft& draft = drafts_[asked[static_cast<size_t>(i)]];
      const double confidence = std::exp(RowScores(host.row(i)).log_probability(token));
      draft.chance *= rule_.chance(confidence);
      if (least_likely_ > 0 ? draft.chance < least_likely_ : !rule_.pays(draft.chance, num_texts)) return;
      draft.confidences.push_back(confidence);
      message_[static_cast<size_t>(i)] = token;
    });
  }
  first_.share(ctx, message_);
  for (size_t i = 0; i < asked.size(); ++i) {
    ScheduledChunk& chunk = batch[asked[i]];
    if (message_[i] >= 0) {
      chunk.sequence->drafts[static_cast<size_t>(depth)] = message_[i];
    } else {
      chunk.num_logits -= chunk.num_drafts - depth;
      chunk.num_drafts = depth;
    }
  }
}

// Row after row of each chunk.
Tensor SelfDrafts::in_order(Context& ctx, std::span<const SequenceChunk> chunks) const {
  std::vector<int32_t> first(chunks.size() + 1, 0);
  for (size_t i = 0; i < chunks.size(); ++i)
    first[i + 1] = first[i] + static_cast<int32_t>(chunks[i].tokens.size());
  const int64_t total = first.back(), width = streams_.front().dim(1);
  if (streams_.size() == 1) return streams_.front();
  const Tensor kept = Tensor::empty(ctx, {total, width}, streams_.front().dtype());
  std::vector<int32_t> slots(static_cast<size_t>(total), -1);
  int32_t at = 0;
  for (size_t depth = 0; depth < streams_.size(); ++depth) {
    ops::copy(ctx, streams_[depth], kept.slice(at, at + streams_[depth].dim(0)));
    for (const size_t chunk : of_chunk_[depth]) slots[static_cast<size_t>(first[chunk]) + depth] = at++;
  }
  TRIREME_CHECK(at == total, "streams of {} rows for {}", at, total);
  if (chunks.size() == 1) return kept;
  const Tensor ordered = Tensor::empty(ctx, {total, width}, kept.dtype());
  ops::combine_rows(ctx, kept, ops::to_device(ctx, slots, {total, 1}), {}, ordered);
  return ordered;
}

Tensor SelfDrafts::logits(Context& ctx, std::span<const SequenceChunk> chunks) {
  const Tensor x =
      model_.streams(ctx, chunks, in_order(ctx, chunks), blocks_, model_.model().spec().num_blocks());
  return model_.head(ctx, x);
}

void SelfDrafts::learn(size_t index, int64_t accepted) {
  if (first_.is_this()) rule_.learn(drafts_[index].confidences, accepted, std::ssize(drafts_));
}

}  // namespace trireme

#include "models/inference/scheduler.h"

#include <algorithm>

#include "runtime/base/error.h"

namespace trireme {

Scheduler::Scheduler(CacheBlockPool& pool, const Limits& limits) : pool_(pool), limits_(limits) {
  TRIREME_CHECK(limits.batch_tokens > 0 && limits.sequences > 0, "batches of {} tokens, {} sequences",
                limits.batch_tokens, limits.sequences);
  // So that a batch has a token of each.
  limits_.sequences = std::min(limits.sequences, limits.batch_tokens);
}

int64_t Scheduler::blocks_of(int64_t num_tokens) const {
  return (num_tokens + pool_.block_tokens() - 1) / pool_.block_tokens();
}

// Blocks for the first num_tokens; false: there are not enough, and none are taken.
bool Scheduler::reserve(Sequence& sequence, int64_t num_tokens) {
  const int64_t missing = blocks_of(num_tokens) - std::ssize(sequence.blocks);
  if (missing > pool_.num_available()) return false;
  for (int64_t i = 0; i < missing; ++i) sequence.blocks.push_back(*pool_.take());
  return true;
}

void Scheduler::give_back(Sequence& sequence) {
  for (auto block = sequence.blocks.rbegin(); block != sequence.blocks.rend(); ++block) pool_.release(*block);
  sequence.blocks.clear();
  sequence.computed = sequence.num_remembered = 0;
}

void Scheduler::preempt_newest() {
  Sequence& newest = *running_.back();
  running_.pop_back();
  give_back(newest);
  waiting_.push_front(&newest);
  ++counts_.preemptions;
}

void Scheduler::remove(Sequence& sequence) {
  std::erase(running_, &sequence);
  std::erase(waiting_, &sequence);
  give_back(sequence);
}

std::span<const ScheduledChunk> Scheduler::next() {
  batch_.clear();
  room_ = limits_.batch_tokens;
  add_decoding();
  add_prompts();
  TRIREME_CHECK(!batch_.empty() || waiting_.empty(), "{} sequences wait for an empty cache of {} blocks",
                waiting_.size(), pool_.num_blocks());
  return batch_;
}

void Scheduler::add_chunk(Sequence& sequence) {
  const int64_t left = sequence.num_tokens() - sequence.computed, count = std::min(room_, left);
  batch_.push_back({&sequence, count, count == left});
  room_ -= count;
}

void Scheduler::add_decoding() {
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    if (!sequence.is_decoding()) continue;
    while (i < running_.size() && !reserve(sequence, sequence.num_tokens())) preempt_newest();
    if (i < running_.size()) add_chunk(sequence);
  }
}

void Scheduler::add_prompts() {
  for (Sequence* sequence : running_) {
    if (room_ == 0) return;
    if (!sequence->is_decoding()) add_chunk(*sequence);
  }
  while (!waiting_.empty() && room_ > 0 && std::ssize(running_) < limits_.sequences) {
    Sequence& sequence = *waiting_.front();
    if (!admit(sequence)) return;
    waiting_.pop_front();
    running_.push_back(&sequence);
    add_chunk(sequence);
  }
}

// With blocks for all its tokens, and a block for each that runs already: else it would soon have to go.
bool Scheduler::admit(Sequence& sequence) {
  const std::span<const int32_t> tokens(sequence.tokens);
  // Of the last token the logits are needed, so it is computed in any case.
  if (limits_.reuses_prefixes) sequence.blocks = pool_.find(tokens.first(tokens.size() - 1));
  const int64_t num_found = std::ssize(sequence.blocks);
  const int64_t missing = blocks_of(sequence.num_tokens()) - num_found;
  if (missing + std::ssize(running_) > pool_.num_available()) {
    give_back(sequence);
    return false;
  }
  reserve(sequence, sequence.num_tokens());
  sequence.num_remembered = num_found;
  sequence.computed = num_found * pool_.block_tokens();
  if (!sequence.has_run) {
    counts_.prompt_tokens += sequence.num_tokens();
    counts_.reused_tokens += sequence.computed;
  }
  sequence.has_run = true;
  return true;
}

void Scheduler::advance(const ScheduledChunk& chunk) {
  Sequence& sequence = *chunk.sequence;
  sequence.computed += chunk.num_tokens;
  if (!limits_.reuses_prefixes) return;
  const int64_t width = pool_.block_tokens();
  for (int64_t& i = sequence.num_remembered; (i + 1) * width <= sequence.computed; ++i) {
    const auto at = static_cast<size_t>(i);
    const auto tokens = std::span(sequence.tokens).subspan(at * static_cast<size_t>(width));
    pool_.remember(sequence.blocks[at], i == 0 ? -1 : sequence.blocks[at - 1],
                   tokens.first(static_cast<size_t>(width)));
  }
}

}  // namespace trireme

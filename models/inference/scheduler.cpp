#include "models/inference/scheduler.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "runtime/base/error.h"

namespace trireme {

namespace {

// Waiting counts: who came so many passes earlier goes as one of the next smaller priority. As one number it
// never changes, so that the order is one of running and waiting sequences alike, and nobody is passed by
// without end. Priorities that are too large for it have their order, but do not age.
int64_t order_of(int64_t priority, int64_t passes_per_priority, int64_t pass) {
  int64_t order = 0;
  if (__builtin_mul_overflow(priority, passes_per_priority, &order) ||
      __builtin_add_overflow(order, pass, &order)) {
    order = priority < 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
  }
  return order;
}

}  // namespace

Scheduler::Scheduler(CacheBlockPool& pool, const Limits& limits, CacheReach reach)
    : pool_(pool), limits_(limits), reach_(std::move(reach)) {
  TRIREME_CHECK(limits.batch_tokens > 0 && limits.sequences > 0 && limits.passes_per_priority > 0,
                "batches of {} tokens, {} sequences, {} passes", limits.batch_tokens, limits.sequences,
                limits.passes_per_priority);
  // So that a batch has a token of each.
  limits_.sequences = std::min(limits.sequences, limits.batch_tokens);
}

void Scheduler::add(Sequence& sequence) {
  sequence.order = order_of(sequence.priority, limits_.passes_per_priority, num_passes_);
  waiting_.insert(&sequence);
}

int64_t Scheduler::blocks_of(int64_t num_tokens) const {
  return (num_tokens + pool_.block_tokens() - 1) / pool_.block_tokens();
}

// Blocks for the first num_tokens; false: there are not enough, and none are taken.
bool Scheduler::reserve(Sequence& sequence, int64_t num_tokens) {
  const int64_t missing = blocks_of(num_tokens) - std::ssize(sequence.blocks);
  if (missing <= 0) return true;
  if (missing > num_free_for(sequence)) return false;
  for (int64_t i = 0; i < missing; ++i) sequence.blocks.push_back(*pool_.take());
  promise(sequence, std::max<int64_t>(0, sequence.num_promised - missing));
  return true;
}

void Scheduler::promise(Sequence& sequence, int64_t num_blocks) {
  promised_ += num_blocks - std::exchange(sequence.num_promised, num_blocks);
}

// What no token from sequence.computed on sees. As long as its prompt is not computed it gets as many again.
void Scheduler::give_back_unseen(Sequence& sequence) {
  for (int64_t i = sequence.computed / pool_.block_tokens(); i-- > 0;) {
    int32_t& block = sequence.blocks[static_cast<size_t>(i)];
    if (block == kNoBlock || !reach_.is_over(i, sequence.computed)) continue;
    pool_.release(std::exchange(block, kNoBlock));
    ++sequence.num_given_back;
  }
  const int64_t missing = blocks_of(sequence.num_tokens()) - std::ssize(sequence.blocks);
  promise(sequence, std::max<int64_t>(0, std::min(missing, sequence.most_blocks - sequence.num_held())));
}

void Scheduler::give_back(Sequence& sequence) {
  for (auto block = sequence.blocks.rbegin(); block != sequence.blocks.rend(); ++block) {
    if (*block != kNoBlock) pool_.release(*block);
  }
  sequence.blocks.clear();
  promise(sequence, 0);
  sequence.num_given_back = sequence.most_blocks = 0;
  sequence.drafts.clear();
  sequence.computed = sequence.num_remembered = 0;
}

void Scheduler::preempt_last() {
  Sequence& last = *running_.back();
  running_.pop_back();
  preempted_.push_back({&last, last.computed});
  give_back(last);
  waiting_.insert(&last);
  ++counts_.preemptions;
}

void Scheduler::remove(Sequence& sequence) {
  std::erase(running_, &sequence);
  waiting_.erase(&sequence);
  give_back(sequence);
}

std::span<const ScheduledChunk> Scheduler::next() {
  batch_.clear();
  begun_.clear();
  preempted_.clear();
  room_ = limits_.batch_tokens;
  // Rows that are drawn from come in any case; prompts are scored beside however many there are.
  logit_room_ = limits_.logit_rows;
  add_decoding();
  logit_room_ = std::max({logit_room_, limits_.logit_rows / 4, int64_t{1}});
  const int64_t held_back = batch_.empty() ? 0 : std::max<int64_t>(0, room_ - prompt_limit_);
  room_ -= held_back;
  add_prompts();
  // Blocks that were given back for a prompt may have another user: then there are too few for all of them.
  while (batch_.empty() && running_.size() > 1) {
    preempt_last();
    add_prompts();
  }
  room_ += held_back;
  add_drafts();
  TRIREME_CHECK(!batch_.empty() || waiting_.empty(), "{} sequences wait for an empty cache of {} blocks",
                waiting_.size(), pool_.num_blocks());
  if (!batch_.empty()) ++num_passes_;
  return batch_;
}

void Scheduler::add_chunk(Sequence& sequence, bool is_prompt) {
  const int64_t left = sequence.num_tokens() - sequence.computed;
  const int64_t reachable = std::ssize(sequence.blocks) + std::max<int64_t>(0, num_free_for(sequence));
  int64_t count = std::min({room_, left, reachable * pool_.block_tokens() - sequence.computed});
  int64_t logits = count == left ? 1 : 0;
  if (sequence.has_scores()) {
    const int64_t unscored = std::max<int64_t>(0, sequence.scores_begin - sequence.computed);
    count = std::min(count, unscored + (is_prompt ? std::max<int64_t>(0, logit_room_) : 1));
    logits = std::max<int64_t>(0, count - unscored);
  }
  if (count <= 0) return;
  reserve(sequence, sequence.computed + count);
  batch_.push_back({&sequence, count, 0, logits, count == left, is_prompt});
  room_ -= count;
  logit_room_ -= logits;
}

void Scheduler::add_decoding() {
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    if (!sequence.is_decoding()) continue;
    while (i < running_.size() && !reserve(sequence, sequence.num_tokens())) preempt_last();
    if (i < running_.size()) add_chunk(sequence, false);
  }
}

// Prompts that have begun and those that wait, in one order.
void Scheduler::add_prompts() {
  const std::vector<Sequence*> running = running_;
  auto begun = running.begin();
  auto waiting = waiting_.begin();
  int64_t num_later = 0;
  bool admits = true;
  while (room_ > 0) {
    while (begun != running.end() && (*begun)->is_decoding()) ++begun;  // they have their token
    admits = admits && waiting != waiting_.end() && std::ssize(running_) < limits_.sequences &&
             num_later < limits_.sequences;
    if (begun != running.end() && (!admits || precedes(*begun, *waiting))) {
      add_chunk(**begun++, true);
    } else if (!admits) {
      return;
    } else {
      const Admission admission = admit(**waiting);
      if (admission == Admission::admitted) add_chunk(**waiting, true);
      // Who comes later does not go before one that there is no room for: it would never have room.
      admits = admission != Admission::no_room;
      if (admission == Admission::later) ++num_later, ++waiting;
      if (admission == Admission::admitted) waiting = waiting_.erase(waiting);
    }
  }
}

// Where a guess is wrong its place is computed for nothing: prompts do not wait for it.
void Scheduler::add_drafts() {
  if (std::ranges::any_of(batch_, &ScheduledChunk::is_prompt)) return;
  for (ScheduledChunk& chunk : batch_) {
    Sequence& sequence = *chunk.sequence;
    if (room_ == 0) return;
    if (sequence.drafts.empty() || !chunk.is_last || chunk.is_prompt) continue;
    int64_t count = std::min(std::ssize(sequence.drafts), room_);
    // A block more, where each of the others can have its next one all the same.
    const bool has_spare = num_free_for(sequence) > std::ssize(running_);
    const int64_t held = std::ssize(sequence.blocks) + (has_spare ? 1 : 0);
    count = std::min(count, held * pool_.block_tokens() - sequence.num_tokens());
    if (count <= 0 || !reserve(sequence, sequence.num_tokens() + count)) continue;
    chunk.num_drafts = count;
    chunk.num_logits += count;
    room_ -= count;
  }
}

// Whether a sequence before it computes its block that ends there. It has a chunk in every pass, so this
// ends; one that is behind it could be held up by others in between.
bool Scheduler::is_being_computed(const Sequence& sequence, int64_t end) const {
  const auto count = static_cast<size_t>(end);
  return std::ranges::any_of(running_, [&](const Sequence* other) {
    return precedes(other, &sequence) && !other->has_scores() && other->computed < end &&
           other->num_tokens() >= end && other->num_shared >= end &&
           std::equal(sequence.tokens.begin(), sequence.tokens.begin() + static_cast<ptrdiff_t>(count),
                      other->tokens.begin());
  });
}

// With blocks for all its tokens, or for those that it has at once, and a block for each that runs already:
// else it would soon have to go.
Scheduler::Admission Scheduler::admit(Sequence& sequence) {
  const int64_t reusable = limits_.reuses_prefixes ? sequence.num_reusable() : 0;
  // Of the last token the logits are needed, so it is computed in any case.
  sequence.blocks = pool_.find(std::span(sequence.tokens).first(static_cast<size_t>(reusable)));
  const int64_t num_found = std::ssize(sequence.blocks);
  const int64_t next_end = (num_found + 1) * pool_.block_tokens();
  const bool is_later = next_end <= reusable && is_being_computed(sequence, next_end);
  sequence.computed = num_found * pool_.block_tokens();
  sequence.most_blocks =
      std::min(pool_.num_blocks(), reach_.most_used(sequence.num_tokens(), limits_.batch_tokens));
  give_back_unseen(sequence);
  const int64_t missing = std::exchange(sequence.num_promised, 0);
  promised_ -= missing;
  if (is_later || missing + std::ssize(running_) > num_free_for(sequence)) {
    give_back(sequence);
    return is_later ? Admission::later : Admission::no_room;
  }
  promise(sequence, missing);
  if (!reach_.is_bounded()) reserve(sequence, sequence.num_tokens());
  begin(sequence, num_found);
  return Admission::admitted;
}

void Scheduler::begin(Sequence& sequence, int64_t num_found) {
  sequence.num_remembered = num_found;
  sequence.computed = num_found * pool_.block_tokens();
  running_.insert(std::ranges::upper_bound(running_, &sequence, precedes), &sequence);
  if (sequence.has_run) return;
  sequence.has_run = true;
  counts_.prompt_tokens += sequence.num_tokens();
  counts_.reused_tokens += sequence.computed;
  begun_.push_back({&sequence, sequence.computed});
}

void Scheduler::advance(Sequence& sequence, int64_t num_tokens) {
  const int64_t before = std::exchange(sequence.computed, sequence.computed + num_tokens);
  // What drafts took that were wrong.
  for (; std::ssize(sequence.blocks) > blocks_of(sequence.num_tokens()); sequence.blocks.pop_back())
    pool_.release(sequence.blocks.back());
  const int64_t width = pool_.block_tokens();
  if (limits_.reuses_prefixes) remember(sequence);
  // As long as a prompt is being computed, and then with every full block.
  if (reach_.is_bounded() && (sequence.computed / width > before / width || sequence.num_promised > 0))
    give_back_unseen(sequence);
}

// Its full blocks, for later prompts.
void Scheduler::remember(Sequence& sequence) {
  const int64_t width = pool_.block_tokens();
  const int64_t known = std::min(sequence.computed, sequence.num_shared);
  for (int64_t& i = sequence.num_remembered; (i + 1) * width <= known; ++i) {
    const auto at = static_cast<size_t>(i);
    const auto tokens = std::span(sequence.tokens).subspan(at * static_cast<size_t>(width));
    pool_.remember(sequence.blocks[at], i == 0 ? -1 : sequence.blocks[at - 1],
                   tokens.first(static_cast<size_t>(width)));
  }
}

}  // namespace trireme

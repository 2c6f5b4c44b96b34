// Scheduler: which tokens of which sequences a forward pass is for. On the host, without a model; equal calls
// on all ranks give equal batches.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <set>
#include <span>
#include <vector>

#include "models/inference/block_pool.h"
#include "models/inference/cache_reach.h"
#include "models/inference/sequence.h"

namespace trireme {

/// The next tokens of a sequence.
struct ScheduledChunk {
  Sequence* sequence = nullptr;
  int64_t num_tokens = 0;  ///< of its tokens
  int64_t num_drafts = 0;  ///< of its drafts, behind these
  int64_t num_logits = 0;  ///< of so many of the last of both logits are asked for
  bool is_last = false;    ///< with them all are computed: what follows is to be drawn
  bool is_prompt = false;  ///< not the continuation of a text
};

/// Continuous batching (Orca, Yu et al., OSDI 2022) with prompts in chunks (Sarathi-Serve, arXiv 2403.02310):
/// a batch has one token of every sequence that is being continued, as many tokens of prompts as there is
/// room for, in the order of precedes(), and drafts where room is left. Prompts take blocks that are free,
/// never those of others. When blocks run out for what is continued, the last sequence of that order gives
/// its own back and begins again, its text a part of its prompt (recomputation, arXiv 2309.06180,
/// section 4.5).
///
/// Blocks that no later token of a text sees (CacheReach) are given back while it is computed, so that a long
/// text has few at a time: for a prompt so many are kept free as it takes at once, not as many as it has
/// tokens for. What is remembered in them is found by other prompts until they are taken for something else.
///
/// A prompt that begins as one before it, which is being computed, waits for the blocks that both have.
class Scheduler {
 public:
  struct Limits {
    int64_t batch_tokens = 512;
    int64_t sequences = 64;
    bool reuses_prefixes = true;
    int64_t passes_per_priority = 256;  ///< GeneratorOptions
    int64_t logit_rows = 512;           ///< of a batch, as far as scores of prompts go
  };
  struct Counts {
    int64_t prompt_tokens = 0;  ///< of sequences that have begun
    int64_t reused_tokens = 0;  ///< of these, found in the cache
    int64_t preemptions = 0;
  };
  struct Event {
    Sequence* sequence = nullptr;
    int64_t num_tokens = 0;
  };

  /// `pool` outlives it.
  Scheduler(CacheBlockPool& pool, const Limits& limits, CacheReach reach);
  Scheduler(CacheBlockPool& pool, const Limits& limits)
      : Scheduler(pool, limits, CacheReach(pool.block_tokens())) {}

  /// The longest sequence, of at most so many tokens, that fits the whole cache.
  int64_t longest(int64_t num_tokens) { return reach_.longest(pool_.num_blocks(), num_tokens); }
  /// A sequence that fits the whole cache (longest()) and outlives its use here. Numbers are unique.
  void add(Sequence& sequence);
  /// Tokens of prompts that later batches have beside a token of a text; at least 1 is taken.
  void limit_prompts(int64_t num_tokens) { prompt_limit_ = std::max<int64_t>(1, num_tokens); }
  /// The next batch, whose sequences have blocks for it; empty: there is nothing to do. Valid until the next
  /// call.
  std::span<const ScheduledChunk> next();
  /// By the last next(): sequences that begin, with tokens that were in the cache; those that had to go, with
  /// tokens to compute anew.
  std::span<const Event> begun() const { return begun_; }
  std::span<const Event> preempted() const { return preempted_; }
  /// So many of its tokens more are computed: those of its chunk, and drafts that are its tokens now.
  void advance(Sequence& sequence, int64_t num_tokens);
  /// The sequence ends; its blocks are given back.
  void remove(Sequence& sequence);

  const Counts& counts() const { return counts_; }
  /// In the order of precedes().
  std::span<Sequence* const> running() const { return running_; }
  int64_t num_waiting() const { return std::ssize(waiting_); }

 private:
  enum class Admission : uint8_t { admitted, no_room, later };

  int64_t blocks_of(int64_t num_tokens) const;
  bool reserve(Sequence& sequence, int64_t num_tokens);
  void give_back(Sequence& sequence);
  void give_back_unseen(Sequence& sequence);
  void remember(Sequence& sequence);
  void promise(Sequence& sequence, int64_t num_blocks);
  /// That nobody uses and no other sequence has been promised.
  int64_t num_free_for(const Sequence& sequence) const {
    return pool_.num_available() - (promised_ - sequence.num_promised);
  }
  void preempt_last();
  bool is_being_computed(const Sequence& sequence, int64_t end) const;
  Admission admit(Sequence& sequence);
  void begin(Sequence& sequence, int64_t num_found);
  void add_decoding();
  void add_prompts();
  void add_drafts();
  void add_chunk(Sequence& sequence, bool is_prompt);

  CacheBlockPool& pool_;
  Limits limits_;
  CacheReach reach_;
  int64_t promised_ = 0;  // of all sequences
  Counts counts_;
  int64_t num_passes_ = 0;
  int64_t prompt_limit_ = std::numeric_limits<int64_t>::max();
  std::vector<Sequence*> running_;  // in order
  std::set<Sequence*, bool (*)(const Sequence*, const Sequence*)> waiting_{precedes};
  std::vector<ScheduledChunk> batch_;
  std::vector<Event> begun_, preempted_;
  int64_t room_ = 0, logit_room_ = 0;  // in the batch
};

}  // namespace trireme

// Scheduler: which tokens of which sequences a forward pass is for. On the host, without a model; equal calls
// on all ranks give equal batches.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "models/inference/block_pool.h"

namespace trireme {

/// The tokens of a request so far, and where their keys and values lie.
struct Sequence {
  int64_t number = 0;           ///< of the request: earlier ones go first
  std::vector<int32_t> tokens;  ///< prompt and text
  int64_t computed = 0;         ///< tokens whose keys and values are in the blocks
  std::vector<int32_t> blocks;
  int64_t num_remembered = 0;  ///< blocks that later prompts find
  bool has_run = false;

  int64_t num_tokens() const { return static_cast<int64_t>(tokens.size()); }
  /// Whether its last token alone is to be computed: what follows it is drawn.
  bool is_decoding() const { return computed == num_tokens() - 1; }
};

/// The next tokens of a sequence.
struct ScheduledChunk {
  Sequence* sequence = nullptr;
  int64_t num_tokens = 0;
  bool is_last = false;  ///< with them all are computed: what follows is to be drawn
};

/// Continuous batching (Orca, Yu et al., OSDI 2022) with prompts in chunks (Sarathi-Serve, arXiv 2403.02310):
/// a batch has one token of every sequence that is being continued, and as many tokens of prompts as there is
/// room for, in the order of the requests. When blocks run out, the newest sequence gives its own back and
/// begins again, its text a part of its prompt (recomputation, arXiv 2309.06180, section 4.5).
class Scheduler {
 public:
  struct Limits {
    int64_t batch_tokens = 512;
    int64_t sequences = 64;
    bool reuses_prefixes = true;
  };
  struct Counts {
    int64_t prompt_tokens = 0;  ///< of sequences that have begun
    int64_t reused_tokens = 0;  ///< of these, found in the cache
    int64_t preemptions = 0;
  };

  /// `pool` outlives it.
  Scheduler(CacheBlockPool& pool, const Limits& limits);

  /// A sequence that fits the whole cache and outlives its use here.
  void add(Sequence& sequence) { waiting_.push_back(&sequence); }
  /// The next batch, whose sequences have blocks for it; empty: there is nothing to do. Valid until the next
  /// call.
  std::span<const ScheduledChunk> next();
  /// The pass over a chunk of the batch has been.
  void advance(const ScheduledChunk& chunk);
  /// The sequence ends; its blocks are given back.
  void remove(Sequence& sequence);

  const Counts& counts() const { return counts_; }

 private:
  int64_t blocks_of(int64_t num_tokens) const;
  bool reserve(Sequence& sequence, int64_t num_tokens);
  void give_back(Sequence& sequence);
  void preempt_newest();
  bool admit(Sequence& sequence);
  void add_decoding();
  void add_prompts();
  void add_chunk(Sequence& sequence);

  CacheBlockPool& pool_;
  Limits limits_;
  Counts counts_;
  // In the order of the requests, those that run before those that wait.
  std::vector<Sequence*> running_;
  std::deque<Sequence*> waiting_;
  std::vector<ScheduledChunk> batch_;
  int64_t room_ = 0;  // in the batch
};

}  // namespace trireme

#include "launch/evaluate/logit_passes.h"

#include <algorithm>
#include <numeric>

#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

int64_t blocks_for(int64_t tokens, int64_t block_tokens) {
  return (tokens + block_tokens - 1) / block_tokens;
}

/// A sequence with its blocks; what comes before `start` another one has computed.
struct Placed {
  int64_t sequence = 0;
  int64_t start = 0;
  std::vector<int32_t> blocks;
};

/// Sequences that are in the cache together.
class Wave {
 public:
  Wave(std::span<const KnownSequence> sequences, const CacheOptions& cache)
      : sequences_(sequences), cache_(cache) {}

  /// Whether there was room.
  bool add(int64_t index) {
    const KnownSequence& sequence = at(index);
    const Placed* like = find(sequence.begins_as);
    const int64_t shared = like == nullptr ? 0 : shared_blocks(sequence, *like);
    const int64_t more = blocks_for(std::ssize(sequence.tokens), cache_.block_tokens) - shared;
    if (used_ + more > cache_.num_blocks) return false;
    Placed placed{index, shared * cache_.block_tokens, {}};
    if (shared > 0) placed.blocks.assign(like->blocks.begin(), like->blocks.begin() + shared);
    placed.blocks.resize(static_cast<size_t>(shared + more));
    std::iota(placed.blocks.begin() + shared, placed.blocks.end(), static_cast<int32_t>(used_));
    used_ += more;
    placed_.push_back(std::move(placed));
    return true;
  }

  /// Cuts all of it into passes. A chunk may read blocks that another of the same pass writes: keys and
  /// values of all rows are stored before any row attends.
  void add_passes(int64_t max_tokens, std::vector<LogitPass>& passes) const {
    int64_t room = 0;
    for (const Placed& placed : placed_) {
      const KnownSequence& sequence = at(placed.sequence);
      for (int64_t at = placed.start; at < std::ssize(sequence.tokens);) {
        if (room == 0) {
          passes.emplace_back();
          room = max_tokens;
        }
        const int64_t count = std::min(room, std::ssize(sequence.tokens) - at), end = at + count;
        PassChunk chunk{.sequence = placed.sequence, .start = at, .count = count, .blocks = {}};
        chunk.num_logits = std::clamp<int64_t>(end - sequence.first_logit, 0, count);
        const auto num_blocks = blocks_for(end, cache_.block_tokens);
        chunk.blocks.assign(placed.blocks.begin(), placed.blocks.begin() + num_blocks);
        passes.back().chunks.push_back(std::move(chunk));
        room -= count;
        at = end;
      }
    }
  }

  bool is_empty() const { return placed_.empty(); }

 private:
  const KnownSequence& at(int64_t index) const { return sequences_[static_cast<size_t>(index)]; }
  const Placed* find(int64_t index) const {
    const auto found = std::ranges::find(placed_, index, &Placed::sequence);
    return found == placed_.end() ? nullptr : &*found;
  }
  int64_t shared_blocks(const KnownSequence& sequence, const Placed& like) const {
    const std::vector<int32_t>&a = sequence.tokens, &b = at(like.sequence).tokens;
    const auto differ = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
    return std::min<int64_t>(differ - a.begin(), sequence.first_logit) / cache_.block_tokens;
  }

  std::span<const KnownSequence> sequences_;
  CacheOptions cache_;
  int64_t used_ = 0;
  std::vector<Placed> placed_;
};

}  // namespace

PassLimits pass_limits(int64_t max_seq_len, int64_t vocab_size, int64_t max_tokens, ops::CacheType type) {
  constexpr int64_t kLeastTokens = 16, kLogitBytes = int64_t{256} << 20, kPasses = 4;
  PassLimits limits;
  const int64_t fitting = kLogitBytes / (vocab_size * static_cast<int64_t>(sizeof(float)));
  limits.max_tokens = std::min(max_tokens, std::max(fitting, kLeastTokens));
  limits.cache.type = type;
  limits.cache.num_blocks =
      blocks_for(std::max(max_seq_len, kPasses * limits.max_tokens), limits.cache.block_tokens);
  return limits;
}

int64_t LogitPass::num_logits() const {
  return std::transform_reduce(chunks.begin(), chunks.end(), int64_t{0}, std::plus(),
                               [](const PassChunk& chunk) { return chunk.num_logits; });
}

std::vector<LogitPass> plan_passes(std::span<const KnownSequence> sequences, const PassLimits& limits) {
  std::vector<LogitPass> passes;
  for (int64_t next = 0; next < std::ssize(sequences);) {
    Wave wave(sequences, limits.cache);
    while (next < std::ssize(sequences) && wave.add(next)) ++next;
    TRIREME_CHECK(!wave.is_empty(), "a sequence of {} tokens in a cache of {} blocks of {}",
                  sequences[static_cast<size_t>(next)].tokens.size(), limits.cache.num_blocks,
                  limits.cache.block_tokens);
    wave.add_passes(limits.max_tokens, passes);
  }
  return passes;
}

Tensor logits_of(Context& ctx, CachedModel& model, const LogitPass& pass,
                 std::span<const KnownSequence> sequences) {
  // All tokens count as those of a text: a rule for exits has its effect on each.
  const bool leaves = model.options().exit.confidence > 0;
  std::vector<SequenceChunk> chunks;
  for (const PassChunk& chunk : pass.chunks) {
    const std::span<const int32_t> tokens = sequences[static_cast<size_t>(chunk.sequence)].tokens;
    chunks.push_back(
        {.tokens = tokens.subspan(static_cast<size_t>(chunk.start), static_cast<size_t>(chunk.count)),
         .start = chunk.start,
         .blocks = chunk.blocks,
         .num_logits = chunk.num_logits,
         .num_leaving = leaves ? chunk.count : 0});
  }
  return model.logits(ctx, chunks);
}

}  // namespace trireme::launch

// Sequences in a Scheduler without a model, for its tests.
#pragma once

#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "models/inference/scheduler.h"

namespace trireme::test {

/// {sequence, tokens} of each chunk.
using Batch = std::vector<std::pair<int64_t, int64_t>>;

/// Sequences whose next token follows from number and length, so that no two are alike.
struct SequenceQueue {
  static constexpr int64_t kWidth = 4;  // of blocks

  /// `layers`: of a model; none: one with full attention.
  SequenceQueue(int64_t num_blocks, const Scheduler::Limits& limits, std::vector<KeyLimits> layers = {{}})
      : pool(num_blocks, kWidth), scheduler(pool, limits, CacheReach(std::move(layers), kWidth)) {}

  Sequence& add(int64_t num_tokens, int32_t first = 0, int64_t priority = 0) {
    auto& s = *sequences.emplace_back(std::make_unique<Sequence>());
    s.number = std::ssize(sequences) - 1;
    s.priority = priority;
    s.tokens.resize(static_cast<size_t>(num_tokens));
    std::iota(s.tokens.begin(), s.tokens.end(), first);
    scheduler.add(s);
    return s;
  }
  /// The next batch, which is then run: sequences in it that are computed get a token.
  Batch step() {
    Batch out;
    for (const ScheduledChunk& chunk : scheduler.next()) {
      Sequence& s = *chunk.sequence;
      out.emplace_back(s.number, chunk.num_tokens);
      EXPECT_EQ(chunk.is_last, s.computed + chunk.num_tokens == s.num_tokens());
      EXPECT_GE(std::ssize(s.blocks) * kWidth, s.computed + chunk.num_tokens + chunk.num_drafts);
      EXPECT_EQ(chunk.num_drafts, 0);
      if (s.has_scores()) s.scores_begin = std::max(s.scores_begin, s.computed + chunk.num_tokens);
      scheduler.advance(s, chunk.num_tokens);
      if (chunk.is_last) s.tokens.push_back(static_cast<int32_t>(1000 * s.number + s.num_tokens()));
    }
    return out;
  }
  void remove(int64_t number) { scheduler.remove(*sequences[static_cast<size_t>(number)]); }

  CacheBlockPool pool;
  Scheduler scheduler;
  std::vector<std::unique_ptr<Sequence>> sequences;
};

}  // namespace trireme::test

// Logits of sequences that pass through a cache in chunks, blocks and batches of all kinds are those of each
// sequence alone, bit for bit.
#include <algorithm>
#include <functional>
#include <numeric>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "models/inference/cached_model.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/base/philox.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/ops/gemm/gemm.h"
#include "tests/support/inference_models.h"
#include "tests/support/tensors.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

class Draw {
 public:
  explicit Draw(uint64_t seed) : seed_(seed) {}
  /// From `low` to `high`, both included.
  int64_t between(int64_t low, int64_t high) {
    return low +
           static_cast<int64_t>(philox4x32(seed_, next_++, 17)[0] % static_cast<uint64_t>(high - low + 1));
  }

 private:
  uint64_t seed_, next_ = 0;
};

struct CachedSequence {
  std::vector<int32_t> tokens;
  std::vector<float> logits;  // of the whole sequence at once
  std::vector<int32_t> blocks;
  int64_t computed = 0;
};

std::vector<float> logits_of(CachedRank& rank, const std::vector<int32_t>& tokens) {
  MicroBatch batch = make_micro_batch(rank.ctx, 1, std::ssize(tokens), tokens, {});
  batch.training = false;
  return to_vector(rank.session.model().logits(rank.ctx, batch));
}

// By way of a cache all the same: of 8 bits, which rounds.
std::vector<float> cached_logits_of(CachedRank& rank, const std::vector<int32_t>& tokens) {
  std::vector<int32_t> blocks(static_cast<size_t>(rank.cached.options().num_blocks));
  std::iota(blocks.begin(), blocks.end(), 0);
  const SequenceChunk whole{.tokens = tokens, .start = 0, .blocks = blocks, .num_logits = std::ssize(tokens)};
  return to_vector(rank.cached.logits(rank.ctx, {&whole, 1}));
}

/// Sequences of which some begin as others do, in blocks that lie about.
class CachedSequences {
 public:
  CachedSequences(CachedRank& rank, Draw& draw, int64_t count, int64_t longest,
                  const std::function<std::vector<float>(const std::vector<int32_t>&)>& whole)
      : rank_(rank), draw_(draw) {
    const int64_t vocab = rank.session.model().config().vocab_size;
    const int64_t width = rank.cached.options().block_tokens;
    free_.resize(static_cast<size_t>(rank.cached.options().num_blocks));
    std::iota(free_.begin(), free_.end(), 0);
    for (size_t i = free_.size(); i-- > 1;)
      std::swap(free_[i], free_[static_cast<size_t>(draw.between(0, static_cast<int64_t>(i)))]);
    for (int64_t i = 0; i < count; ++i) {
      CachedSequence& s = sequences_.emplace_back();
      s.tokens = some_text(vocab, draw.between(1, longest), static_cast<uint64_t>(draw.between(0, 1 << 20)));
      if (i > 0 && draw.between(0, 2) == 0)
        begin_as(s, sequences_[static_cast<size_t>(draw.between(0, i - 1))]);
      s.logits = whole(s.tokens);
      while (std::ssize(s.blocks) * width < std::ssize(s.tokens)) {
        s.blocks.push_back(free_.back());
        free_.pop_back();
      }
    }
  }

  /// A pass over the next tokens of some of them; whether all are done.
  bool step() {
    std::vector<SequenceChunk> chunks;
    std::vector<CachedSequence*> of_chunks;
    for (CachedSequence& s : sequences_) {
      const int64_t left = std::ssize(s.tokens) - s.computed;
      if (left == 0 || !is_ready(s) || draw_.between(0, 3) == 0) continue;
      const int64_t count = std::min(left, draw_.between(0, 1) == 0 ? 1 : draw_.between(1, 90));
      chunks.push_back({std::span<const int32_t>(s.tokens).subspan(static_cast<size_t>(s.computed),
                                                                   static_cast<size_t>(count)),
                        s.computed, s.blocks, draw_.between(count == left ? 1 : 0, count)});
      of_chunks.push_back(&s);
    }
    if (chunks.empty())
      return std::ranges::all_of(sequences_,
                                 [](const CachedSequence& s) { return s.computed == std::ssize(s.tokens); });
    const std::vector<float> logits = to_vector(rank_.cached.logits(rank_.ctx, chunks));
    auto row = logits.begin();
    for (size_t i = 0; i < chunks.size(); ++i) {
      CachedSequence& s = *of_chunks[i];
      s.computed += std::ssize(chunks[i].tokens);
      compare(s, chunks[i].num_logits, row);
    }
    EXPECT_TRUE(row == logits.end());
    return false;
  }
  int64_t num_compared() const { return num_compared_; }

 private:
  /// The first blocks are the other's, which has to have computed them.
  void begin_as(CachedSequence& s, const CachedSequence& other) {
    const int64_t width = rank_.cached.options().block_tokens;
    const int64_t most = std::min(std::ssize(s.tokens) - 1, std::ssize(other.tokens)) / width;
    const int64_t count = draw_.between(0, most);
    std::copy_n(other.tokens.begin(), count * width, s.tokens.begin());
    s.blocks.assign(other.blocks.begin(), other.blocks.begin() + count);
    s.computed = count * width;
    waits_for_.emplace_back(&s - sequences_.data(), &other - sequences_.data());
  }
  bool is_ready(const CachedSequence& s) const {
    return std::ranges::all_of(waits_for_, [&](const auto& pair) {
      const CachedSequence& other = sequences_[static_cast<size_t>(pair.second)];
      return &s != &sequences_[static_cast<size_t>(pair.first)] || other.computed == std::ssize(other.tokens);
    });
  }
  void compare(const CachedSequence& s, int64_t num_rows, std::vector<float>::const_iterator& row) {
    const int64_t vocab = rank_.session.model().config().vocab_size;
    const auto expected = s.logits.begin() + (s.computed - num_rows) * vocab;
    EXPECT_TRUE(std::equal(row, row + num_rows * vocab, expected))
        << num_rows << " rows up to place " << s.computed << " of " << s.tokens.size();
    row += num_rows * vocab;
    num_compared_ += num_rows;
  }

  CachedRank& rank_;
  Draw& draw_;
  std::vector<int32_t> free_;
  std::vector<CachedSequence> sequences_;
  std::vector<std::pair<int64_t, int64_t>> waits_for_;
  int64_t num_compared_ = 0;
};

struct LogitsCase {
  NamedModel model;
  uint64_t seed;
  DType precision = DType::f32;
  ops::CacheType cache = ops::CacheType::plain;
};
void PrintTo(const LogitsCase& c, std::ostream* out) { *out << c.model.name << " " << c.seed; }

class CachedLogits : public testing::TestWithParam<LogitsCase> {};

TEST_P(CachedLogits, AreThoseOfWholeSequences) {
  const auto& [model, seed, precision, cache] = GetParam();
  Draw draw(seed);
  const bool whole = whole_tier();
  const int64_t count = draw.between(1, whole ? 64 : 16), longest = draw.between(1, whole ? 2000 : 300);
  const int64_t width = 16 * draw.between(1, 4);
  ModelConfig config = model.config;
  config.max_positions = longest;
  const auto self = make_self_communicator();
  Context some;
  if (!ops::rows_are_independent(some, precision)) GTEST_SKIP() << "rows depend on one another here";
  const auto rank_with = [&](int64_t num_blocks, int64_t block_tokens, int64_t num_threads) {
    const CacheOptions options{
        .num_blocks = num_blocks, .block_tokens = block_tokens, .type = GetParam().cache};
    return CachedRank(*self, {.data = 1}, config, "", options, static_cast<int>(num_threads),
                      GetParam().precision);
  };
  CachedRank rank = rank_with(count * (longest / width + 1), width, draw.between(1, 3));
  CachedRank alone = rank_with(longest / 16 + 1, 16, 1);
  CachedSequences sequences(rank, draw, count, longest, [&](const std::vector<int32_t>& tokens) {
    return GetParam().cache == ops::CacheType::plain ? logits_of(alone, tokens)
                                                     : cached_logits_of(alone, tokens);
  });
  while (!sequences.step()) {
  }
  EXPECT_GT(sequences.num_compared(), 0);
}

std::vector<LogitsCase> cases() {
  std::vector<LogitsCase> out;
  for (const NamedModel& model : inference_models(16)) {
    for (uint64_t seed = 0; seed < (whole_tier() ? 4 : 2); ++seed)
      out.push_back({model, test_seed() * 1000 + seed});
    out.push_back({model, test_seed() * 1000 + 500, DType::bf16});
    out.push_back({model, test_seed() * 1000 + 600, DType::f32, ops::CacheType::int8});
  }
  for (const NamedModel& model : edge_models(16)) {
    out.push_back({model, test_seed() * 1000 + 700});
    out.push_back({model, test_seed() * 1000 + 701, DType::bf16});
  }
  return out;
}
INSTANTIATE_TEST_SUITE_P(Drawn, CachedLogits, testing::ValuesIn(cases()), [](const auto& p) {
  const bool is_plain = p.param.cache == ops::CacheType::plain;
  return fmt::format("{}_{}{}_{}", p.param.model.name, to_string(p.param.precision),
                     is_plain ? "" : "_int8_cache", p.param.seed);
});

// Of a mixture with little room for its experts, too: in a batch of one's own nobody is in the way.
TEST(CachedLogitsOfMixtures, NoTokenIsDropped) {
  const auto self = make_self_communicator();
  ModelConfig config = inference_models(64)[2].config;
  const auto logits_with = [&](CapacityMode capacity, bool cached) {
    config.moe.capacity = capacity;
    config.moe.capacity_factor = 0.3;
    CachedRank rank(*self, {.data = 1}, config, "", {.num_blocks = 4, .block_tokens = 16});
    const auto tokens = some_text(config.vocab_size, 50, 1);
    if (!cached) return logits_of(rank, tokens);
    const std::vector<int32_t> blocks{0, 1, 2, 3};
    const SequenceChunk chunk{.tokens = tokens, .start = 0, .blocks = blocks, .num_logits = 50};
    return to_vector(rank.cached.logits(rank.ctx, {&chunk, 1}));
  };
  const auto expected = logits_with(CapacityMode::dropless, false);
  EXPECT_NE(logits_with(CapacityMode::drop, false), expected);
  EXPECT_EQ(logits_with(CapacityMode::drop, true), expected);
  EXPECT_EQ(logits_with(CapacityMode::pad, true), expected);
}

}  // namespace
}  // namespace trireme::test

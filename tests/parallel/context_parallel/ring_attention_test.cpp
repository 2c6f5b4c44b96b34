// Which tokens a context rank holds and sees, and ring attention beside attention over the whole sequence.
#include "parallel/context_parallel/ring_attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include <gtest/gtest.h>

#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/ops/host_copy.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

using ops::AttentionShape;
using ops::Columns;

std::vector<int64_t> positions_of(const ContextShare& share, int64_t seq_len) {
  std::vector<int64_t> positions;
  for (const Part& part : share.tokens(seq_len)) {
    for (int64_t t = part.begin; t < part.end; ++t) positions.push_back(t);
  }
  return positions;
}

TEST(ContextShare, RanksHoldEveryTokenOnceInOrderAndEqualWork) {
  for (int size = 1; size <= 7; ++size) {
    for (const int64_t chunk : {1, 3, 8}) {
      const int64_t seq_len = 2 * size * chunk;
      std::set<int64_t> all;
      std::set<int64_t> work;  // causal pairs of each rank
      for (int rank = 0; rank < size; ++rank) {
        const auto held = positions_of({rank, size}, seq_len);
        EXPECT_TRUE(std::ranges::is_sorted(held));
        EXPECT_EQ(static_cast<int64_t>(held.size()), seq_len / size);
        int64_t pairs = 0;
        for (const int64_t t : held) pairs += t + 1;
        work.insert(pairs);
        all.insert(held.begin(), held.end());
      }
      EXPECT_EQ(work.size(), 1u) << size << " ranks";
      EXPECT_EQ(static_cast<int64_t>(all.size()), seq_len);
    }
  }
}

TEST(ContextShare, ARankThatIsAloneHoldsAnyLength) {
  for (const int64_t seq_len : {0, 1, 2, 7}) {
    EXPECT_EQ(static_cast<int64_t>(positions_of({}, seq_len).size()), seq_len);
  }
}

TEST(ContextShare, LengthsThatDoNotDivideAreADefect) {
  EXPECT_THROW((ContextShare{0, 2}.tokens(6)), InternalError);
  EXPECT_THROW((ContextShare{1, 3}.tokens(7)), InternalError);
}

// Against the causal mask itself.
TEST(ContextShare, WhatIsSeenOfAnotherRankIsExactlyWhatIsNotMasked) {
  for (int size = 2; size <= 5; ++size) {
    const int64_t seq_len = 6 * size;
    for (int rank = 0; rank < size; ++rank) {
      for (int owner = 0; owner < size; ++owner) {
        if (owner == rank) continue;
        const auto queries = positions_of({rank, size}, seq_len), keys = positions_of({owner, size}, seq_len);
        const SeenKeys seen = ContextShare{rank, size}.seen_of(owner, seq_len / size);
        const auto has = [](const Part& part, size_t i) {
          return part.begin <= static_cast<int64_t>(i) && static_cast<int64_t>(i) < part.end;
        };
        for (size_t i = 0; i < queries.size(); ++i) {
          for (size_t j = 0; j < keys.size(); ++j) {
            EXPECT_EQ(has(seen.queries, i) && has(seen.keys, j), keys[j] <= queries[i])
                << rank << " of " << owner << ": " << i << ", " << j;
          }
        }
      }
    }
  }
}

// Against the mask itself, pair by pair; no pair of chunks is named in vain.
TEST(ContextShare, WhatIsSeenWithinAWindowIsExactlyWhatIsNotMasked) {
  for (const auto& [size, chunk] : {std::pair<int, int64_t>{1, 4}, {2, 3}, {3, 1}, {4, 5}}) {
    const int64_t held = 2 * chunk, seq_len = held * size;
    for (int64_t window = 1; window <= seq_len + 1; ++window) {
      for (int pair = 0; pair < size * size; ++pair) {
        const int rank = pair / size, owner = pair % size;
        const auto queries = positions_of({rank, size}, seq_len), keys = positions_of({owner, size}, seq_len);
        std::set<std::pair<int64_t, int64_t>> seen, expected;
        for (const SeenKeys& part : ContextShare{rank, size}.seen_within({window}, owner, held)) {
          const size_t before = seen.size();
          for (int64_t i = part.queries.begin; i < part.queries.end; ++i) {
            for (int64_t j = part.keys.begin; j < part.keys.end; ++j) {
              const int64_t back = i - part.queries.end + part.shift - (j - part.keys.end);
              EXPECT_EQ(back, queries[static_cast<size_t>(i)] - keys[static_cast<size_t>(j)]);
              if (back < 0 || back >= window) continue;
              EXPECT_TRUE(seen.emplace(i, j).second);
            }
          }
          EXPECT_GT(seen.size(), before);
        }
        for (int64_t i = 0; i < held; ++i) {
          for (int64_t j = 0; j < held; ++j) {
            const int64_t back = queries[static_cast<size_t>(i)] - keys[static_cast<size_t>(j)];
            if (back >= 0 && back < window) expected.emplace(i, j);
          }
        }
        EXPECT_EQ(seen, expected) << rank << " of " << owner << ", " << size << " ranks, window " << window;
      }
    }
  }
}

// First keys of documents of a few lengths, one after the other, in each sequence.
std::vector<int32_t> first_keys_of(int64_t batch, int64_t seq_len) {
  constexpr std::array<int32_t, 5> kLengths{6, 1, 17, 3, 40};
  std::vector<int32_t> first_keys;
  for (int64_t b = 0; b < batch; ++b) {
    auto turn = static_cast<size_t>(b);
    for (int32_t begin = 0; begin < seq_len; begin += kLengths[turn++ % kLengths.size()]) {
      const int64_t end = std::min<int64_t>(seq_len, begin + kLengths[turn % kLengths.size()]);
      first_keys.insert(first_keys.end(), static_cast<size_t>(end - begin), begin);
    }
  }
  return first_keys;
}

// Of the first query of each chunk of each sequence.
std::vector<int32_t> of_chunks(const std::vector<int32_t>& first_keys, int64_t chunk) {
  std::vector<int32_t> of_chunks;
  for (size_t i = 0; i < first_keys.size(); i += static_cast<size_t>(chunk))
    of_chunks.push_back(first_keys[i]);
  return of_chunks;
}

TEST(ContextShare, FirstKeysLeaveOutThePairsOfChunksThatDoNotMeet) {
  for (const auto& [size, chunk] : {std::pair<int, int64_t>{2, 3}, {3, 1}, {4, 5}, {2, 33}}) {
    const int64_t held = 2 * chunk, seq_len = held * size;
    const auto first_keys = first_keys_of(1, seq_len), chunks = of_chunks(first_keys, chunk);
    for (const int64_t window : {int64_t{0}, int64_t{2}, seq_len}) {
      for (int pair = 0; pair < size * size; ++pair) {
        const int rank = pair / size, owner = pair % size;
        const auto queries = positions_of({rank, size}, seq_len), keys = positions_of({owner, size}, seq_len);
        std::set<std::pair<int64_t, int64_t>> named, expected;  // pairs of chunks
        for (const SeenKeys& part : ContextShare{rank, size}.seen_within({window}, owner, held, chunks)) {
          EXPECT_EQ(part.first_place, keys[static_cast<size_t>(part.keys.begin)]);
          named.emplace(part.queries.begin / chunk, part.keys.begin / chunk);
        }
        for (int64_t i = 0; i < held; ++i) {
          for (int64_t j = 0; j < held; ++j) {
            const int64_t query = queries[static_cast<size_t>(i)], key = keys[static_cast<size_t>(j)];
            const bool is_seen = key <= query && (window == 0 || query - key < window) &&
                                 key >= first_keys[static_cast<size_t>(query)];
            if (is_seen) expected.emplace(i / chunk, j / chunk);
          }
        }
        EXPECT_EQ(named, expected) << rank << " of " << owner << ", " << size << " ranks, window " << window;
      }
    }
  }
}

std::vector<KeyLimits> patterns() {
  return {{5, {.sinks = 3}},
          {3, {.stride = 7, .stride_keys = 3}},
          {0, {.stride = 5}},
          {2, {.block = 8, .summary = 2, .reach = 3}},
          {0, {.block = 6, .summary = 6, .reach = 1}},
          {1, {.block = 4, .summary = 1}},
          {4, {.num_globals = 3, .globals = {0, 9, 30}}},
          {6,
           {.sinks = 2,
            .stride = 11,
            .stride_keys = 2,
            .block = 9,
            .summary = 1,
            .num_globals = 1,
            .globals = {17}}}};
}

// Against the mask itself, pair by pair. What is asked of other ranks is what some query of a chunk sees.
TEST(ContextShare, WhatIsSeenUnderAPatternIsExactlyWhatIsNotMasked) {
  for (const auto& [size, chunk] : {std::pair<int, int64_t>{1, 9}, {2, 3}, {3, 13}, {2, 20}}) {
    const int64_t held = 2 * chunk, seq_len = held * size;
    const auto drawn = first_keys_of(1, seq_len);
    for (size_t turn = 0; turn < 2 * patterns().size(); ++turn) {
      const KeyLimits limits = patterns()[turn / 2];
      const bool is_packed = turn % 2 == 1;
      const auto first_keys = is_packed ? drawn : std::vector<int32_t>(static_cast<size_t>(seq_len), 0);
      const auto sees = [&](int64_t query, int64_t key) {
        const int64_t first = first_keys[static_cast<size_t>(query)];
        return ops::sees(limits.pattern, limits.window, query - first, key - first);
      };
      for (int pair = 0; pair < size * size; ++pair) {
        const int rank = pair / size, owner = pair % size;
        SCOPED_TRACE(fmt::format("{} of {}, {} ranks, pattern {}", rank, owner, size, turn));
        const auto queries = positions_of({rank, size}, seq_len), keys = positions_of({owner, size}, seq_len);
        std::set<std::pair<int64_t, int64_t>> seen, expected;
        for (const SeenKeys& part : ContextShare{rank, size}.seen_within(
                 limits, owner, held, is_packed ? of_chunks(first_keys, chunk) : std::vector<int32_t>())) {
          EXPECT_EQ(part.first_place, keys[static_cast<size_t>(part.keys.begin)]);
          const int64_t first = part.queries.begin / chunk * chunk;
          for (int64_t j = part.keys.begin; j < part.keys.end; ++j) {
            const int64_t key = keys[static_cast<size_t>(j)];
            bool is_seen = false;
            for (int64_t i = first; i < first + chunk; ++i) {
              const int64_t query = queries[static_cast<size_t>(i)];
              is_seen = is_seen || sees(query, key);
              if (i < part.queries.begin || i >= part.queries.end || !sees(query, key)) continue;
              EXPECT_EQ(i - part.queries.end + part.shift - (j - part.keys.end), query - key);
              EXPECT_TRUE(seen.emplace(i, j).second);
            }
            EXPECT_TRUE(is_seen || is_packed || owner == rank) << "row " << j;
          }
        }
        for (int64_t i = 0; i < held; ++i) {
          for (int64_t j = 0; j < held; ++j) {
            if (sees(queries[static_cast<size_t>(i)], keys[static_cast<size_t>(j)])) expected.emplace(i, j);
          }
        }
        EXPECT_EQ(seen, expected);
      }
    }
  }
}

enum class Packed : uint8_t {
  no,
  silently,  // first keys that the device alone knows
  yes
};

struct Case {
  int size;
  int64_t batch, chunk, num_heads, num_kv_heads, head_dim;
  DType dtype = DType::f32;
  int64_t window = 0;
  float soft_cap = 0;
  Packed packed = Packed::no;
  int pattern = -1;  // of patterns(); has a window of its own
};

// q | k | v side by side, and the outputs of both passes.
struct BothPasses {
  BothPasses(Context& ctx, const AttentionShape& s, DType dtype)
      : shape(s),
        qkv(Tensor::empty(ctx, {s.batch * s.q_len, (s.num_heads + 2 * s.num_kv_heads) * s.head_dim}, dtype)),
        dqkv(Tensor::empty(ctx, qkv.shape(), dtype)),
        out(Tensor::empty(ctx, {s.batch * s.q_len, s.num_heads * s.head_dim}, dtype)),
        dout(Tensor::empty(ctx, out.shape(), dtype)),
        lse(Tensor::empty(ctx, {s.batch, s.num_heads, s.q_len}, DType::f32)) {}

  void both_passes(Context& ctx, const ContextParallel& context, int num_parts) const {
    const auto columns = [this](const Tensor& t, int64_t first_head, int64_t num) {
      return Columns{t, first_head * shape.head_dim, num * shape.head_dim};
    };
    const int64_t h = shape.num_heads, k = shape.num_kv_heads;
    ring_attention(ctx, context, num_parts, shape, columns(qkv, 0, h), columns(qkv, h, k),
                   columns(qkv, h + k, k), out, lse, chunk_first_keys);
    ring_attention_backward(ctx, context, num_parts, shape, columns(qkv, 0, h), columns(qkv, h, k),
                            columns(qkv, h + k, k), out, lse, dout, columns(dqkv, 0, h), columns(dqkv, h, k),
                            columns(dqkv, h + k, k), chunk_first_keys);
  }

  std::vector<int32_t> chunk_first_keys;
  AttentionShape shape;
  Tensor qkv, dqkv, out, dout, lse;
};

// Rows of `whole` that the rank holds into `part`, or back.
void exchange_rows(const ContextShare& share, int64_t batch, int64_t seq_len, const Tensor& whole,
                   const Tensor& part, bool back) {
  const auto held = positions_of(share, seq_len);
  const int64_t bytes = whole.bytes() / whole.dim(0);
  for (int64_t b = 0; b < batch; ++b) {
    for (size_t i = 0; i < held.size(); ++i) {
      auto* w = static_cast<std::byte*>(whole.raw()) + (b * seq_len + held[i]) * bytes;
      auto* p = static_cast<std::byte*>(part.raw()) +
                (b * static_cast<int64_t>(held.size()) + static_cast<int64_t>(i)) * bytes;
      std::copy_n(back ? p : w, bytes, back ? w : p);
    }
  }
}

void expect_near(const char* what, const Tensor& got, const Tensor& expected, double tolerance) {
  const auto a = to_vector(got), b = to_vector(expected);
  double largest = 1e-3;
  for (const float x : b) largest = std::max(largest, static_cast<double>(std::abs(x)));
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], tolerance * largest) << what << " " << i;
}

// Attention over the whole sequence, on one rank.
void attend_alone(Context& ctx, const BothPasses& run) {
  const auto self = make_self_communicator();
  run.both_passes(ctx, ContextParallel(*self), 1);
}

class RingAttention : public testing::TestWithParam<Case> {
 protected:
  // Puts the ranks' results together.
  void run_ring(const BothPasses& whole, int num_threads = 1) const {
    const Case& c = GetParam();
    const int64_t seq_len = whole.shape.q_len;
    run_thread_ranks(c.size, [&](Communicator& world) {
      Context ctx({}, num_threads);
      const ContextParallel context(world);
      AttentionShape s = whole.shape;
      s.q_len = s.kv_len = seq_len / c.size;
      if (s.first_key) {
        s.first_key = Tensor::empty(ctx, {s.batch, s.q_len}, DType::i32);
        exchange_rows(context.share(), s.batch, seq_len, whole.shape.first_key.view({s.batch * seq_len, 1}),
                      s.first_key.view({s.batch * s.q_len, 1}), false);
      }
      BothPasses mine(ctx, s, c.dtype);
      mine.chunk_first_keys = whole.chunk_first_keys;
      const auto rows = [&](const Tensor& all, const Tensor& own, bool back) {
        exchange_rows(context.share(), s.batch, seq_len, all, own, back);
      };
      rows(whole.qkv, mine.qkv, false);
      rows(whole.dout, mine.dout, false);
      mine.both_passes(ctx, context, c.size);
      rows(whole.out, mine.out, true);
      rows(whole.dqkv, mine.dqkv, true);
    });
  }
  BothPasses make_run(Context& ctx) const {
    const Case& c = GetParam();
    const int64_t seq_len = 2 * c.size * c.chunk;
    BothPasses run(ctx,
                   {c.batch, seq_len, seq_len, c.num_heads, c.num_kv_heads, c.head_dim,
                    1.0f / std::sqrt(static_cast<float>(c.head_dim)), true, c.window, c.soft_cap},
                   c.dtype);
    if (c.pattern >= 0) {
      const KeyLimits limits = patterns()[static_cast<size_t>(c.pattern)];
      run.shape.window = limits.window;
      run.shape.pattern = limits.pattern;
    }
    if (c.packed != Packed::no) {
      const auto first_keys = first_keys_of(c.batch, seq_len);
      run.shape.first_key = ops::to_device(ctx, first_keys, {c.batch, seq_len});
      if (c.packed == Packed::yes) run.chunk_first_keys = of_chunks(first_keys, c.chunk);
    }
    run.qkv = random_tensor(ctx, run.qkv.shape(), c.dtype, 1);
    run.dout = random_tensor(ctx, run.dout.shape(), c.dtype, 2);
    return run;
  }
};

TEST_P(RingAttention, EqualsAttentionOverTheWholeSequence) {
  Context ctx;
  const BothPasses ring = make_run(ctx), again = make_run(ctx), plain = make_run(ctx);
  run_ring(ring);
  attend_alone(ctx, plain);
  const bool wide = GetParam().dtype == DType::f32;
  // Each block's share of a gradient is rounded to the compute type before it is summed.
  expect_near("out", ring.out, plain.out, wide ? 2e-6 : 0x1p-7);
  expect_near("dqkv", ring.dqkv, plain.dqkv, wide ? 4e-6 : 0x1p-7);
  run_ring(again, 2);
  EXPECT_EQ(to_vector(ring.out), to_vector(again.out)) << "from run to run";
  EXPECT_EQ(to_vector(ring.dqkv), to_vector(again.dqkv)) << "from run to run";
}

TEST_P(RingAttention, SequencesHeldWholeAreAttendedToAlone) {
  Context ctx;
  const BothPasses plain = make_run(ctx);
  attend_alone(ctx, plain);
  run_thread_ranks(GetParam().size, [&](Communicator& world) {
    if (world.rank() > 0) return;  // nobody answers
    Context own;
    const BothPasses run = make_run(own);
    run.both_passes(own, ContextParallel(world), 1);
    EXPECT_EQ(to_vector(run.out), to_vector(plain.out));
    EXPECT_EQ(to_vector(run.dqkv), to_vector(plain.dqkv));
  });
}

std::string name_of(const testing::TestParamInfo<Case>& p) {
  const Case& c = p.param;
  constexpr std::array kPacked{"", "_packed_silently", "_packed"};
  return fmt::format("{}_ranks{}_batch{}_chunk{}_heads{}_{}_dim{}_window{}_cap{}{}{}", to_string(c.dtype),
                     c.size, c.batch, c.chunk, c.num_heads, c.num_kv_heads, c.head_dim, c.window,
                     static_cast<int>(c.soft_cap), kPacked[static_cast<size_t>(c.packed)],
                     c.pattern < 0 ? "" : fmt::format("_pattern{}", c.pattern));
}

INSTANTIATE_TEST_SUITE_P(
    , RingAttention,
    testing::Values(Case{1, 2, 3, 2, 2, 5}, Case{2, 1, 1, 1, 1, 1}, Case{2, 3, 5, 4, 2, 7},
                    Case{3, 1, 1, 2, 1, 4}, Case{3, 2, 7, 3, 3, 33}, Case{4, 1, 40, 6, 2, 16},
                    Case{4, 2, 1, 2, 2, 3}, Case{5, 2, 3, 4, 1, 8}, Case{2, 2, 33, 4, 2, 9, DType::bf16},
                    Case{3, 1, 5, 2, 2, 7, DType::bf16}, Case{4, 2, 17, 4, 1, 16, DType::bf16},
                    Case{4, 1, 8, 2, 2, 16, DType::f16}, Case{2, 2, 5, 4, 2, 7, DType::f32, 1},
                    Case{3, 1, 4, 2, 1, 4, DType::f32, 3}, Case{2, 2, 20, 2, 2, 8, DType::f32, 33, 2},
                    Case{4, 1, 9, 2, 1, 8, DType::f32, 20}, Case{3, 2, 7, 2, 1, 5, DType::f32, 500},
                    Case{2, 1, 6, 2, 1, 8, DType::f32, 0, 1}, Case{3, 1, 11, 4, 2, 16, DType::bf16, 25, 3},
                    Case{4, 2, 16, 2, 1, 8, DType::f32, 7},
                    Case{2, 2, 9, 2, 1, 8, DType::f32, 0, 0, Packed::silently},
                    Case{2, 2, 9, 2, 1, 8, DType::f32, 0, 0, Packed::yes},
                    Case{4, 3, 7, 4, 2, 5, DType::f32, 0, 0, Packed::yes},
                    Case{3, 1, 1, 1, 1, 8, DType::f32, 0, 0, Packed::yes},
                    Case{4, 2, 10, 2, 2, 8, DType::f32, 12, 2, Packed::yes},
                    Case{2, 1, 40, 2, 1, 16, DType::f32, 30, 0, Packed::silently},
                    Case{3, 2, 21, 4, 2, 16, DType::bf16, 0, 0, Packed::yes},
                    Case{2, 2, 17, 4, 2, 8, DType::f32, 0, 0, Packed::no, 0},
                    Case{4, 1, 9, 2, 1, 8, DType::f32, 0, 0, Packed::no, 1},
                    Case{2, 1, 21, 2, 2, 8, DType::f32, 0, 0, Packed::yes, 2},
                    Case{4, 1, 12, 2, 1, 8, DType::f32, 0, 0, Packed::no, 3},
                    Case{4, 2, 7, 2, 1, 16, DType::bf16, 0, 0, Packed::yes, 4},
                    Case{2, 1, 33, 2, 1, 8, DType::f32, 0, 3, Packed::no, 5},
                    Case{4, 1, 15, 2, 1, 8, DType::f32, 0, 0, Packed::silently, 6},
                    Case{4, 2, 11, 4, 2, 8, DType::f32, 0, 0, Packed::yes, 7}),
    name_of);

// What ranks send in both passes, of keys and values and their gradients.
TEST(RingAttentionTraffic, NobodySendsWhatNobodySees) {
  constexpr int64_t kChunk = 8, kSeqLen = 8 * kChunk, kHeadDim = 4;
  constexpr int64_t kKey = 2 * kHeadDim * int64_t{sizeof(float)};  // with its value
  const auto sent = [](int64_t window, const std::vector<int32_t>& first_keys,
                       const ops::KeyPattern& pattern = {}) {
    std::array<int64_t, 4> bytes{};
    run_thread_ranks(4, [&](Communicator& world) {
      Context ctx;
      AttentionShape s{1, 2 * kChunk, 2 * kChunk, 1, 1, kHeadDim, 1.0f, true, window};
      s.pattern = pattern;
      const ContextParallel context(world);
      std::vector<int32_t> held;
      for (const int64_t place : positions_of(context.share(), kSeqLen))
        if (!first_keys.empty()) held.push_back(first_keys[static_cast<size_t>(place)]);
      if (!held.empty()) s.first_key = ops::to_device(ctx, held, {1, s.q_len});
      BothPasses run(ctx, s, DType::f32);
      run.qkv = random_tensor(ctx, run.qkv.shape(), DType::f32, 1);
      run.dout = random_tensor(ctx, run.dout.shape(), DType::f32, 2);
      run.chunk_first_keys = of_chunks(first_keys, kChunk);
      run.both_passes(ctx, context, 4);
      bytes[static_cast<size_t>(world.rank())] = world.bytes_exchanged();
    });
    return bytes;
  };
  // Of chunks 0 to 7, held by ranks 0 1 2 3 3 2 1 0, the last keys of each are seen by the next chunk. Keys
  // go twice, and what their reader has summed comes back once.
  for (const int64_t window : {int64_t{3}, kChunk, kChunk + 1}) {
    const int64_t keys = (window - 1) * kKey;
    EXPECT_EQ(sent(window, {}), (std::array<int64_t, 4>{3 * keys, 6 * keys, 6 * keys, 3 * keys})) << window;
  }
  // Two sinks besides go from rank 0 to the others, once for both of their chunks; the other way come sums.
  constexpr int64_t kBase = 2 * kKey;
  EXPECT_EQ(sent(3, {}, {.sinks = 2}), (std::array<int64_t, 4>{3 * kBase + 12 * kKey, 6 * kBase + 2 * kKey,
                                                               6 * kBase + 2 * kKey, 3 * kBase + 2 * kKey}));
  EXPECT_EQ(sent(1, {}), (std::array<int64_t, 4>{})) << "a token that sees itself alone";
  std::vector<int32_t> apart;  // documents of a chunk each
  for (int32_t place = 0; place < kSeqLen; ++place) apart.push_back(place / kChunk * kChunk);
  EXPECT_EQ(sent(0, apart), (std::array<int64_t, 4>{})) << "documents within a chunk";
}

TEST(RingAttentionRefuses, SequencesInOtherPartsThanTheRing) {
  EXPECT_THROW(run_thread_ranks(3,
                                [](Communicator& world) {
                                  Context ctx;
                                  const BothPasses run(ctx, {1, 2, 2, 1, 1, 1, 1, true}, DType::f32);
                                  run.both_passes(ctx, ContextParallel(world), 2);
                                }),
               InternalError);
}

}  // namespace
}  // namespace trireme::test

// What the CPU's attention promises about bits: they depend on a query and the keys it sees alone, and are
// the same in training and in a cache.
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "runtime/ops/cpu/attention/attention_kernels.h"
#include "tests/runtime/ops/attention/paged_cache.h"
#include "tests/support/shared_contexts.h"
#include "tests/support/tier.h"

namespace trireme {
namespace {

using ops::AttentionShape;
using ops::CacheType;
using ops::Columns;
using ops::kTokenGroup;
using ops::PagedShape;
using ops::cpu::AttentionKernels;
using ops::cpu::TokenProduct;
using test::PagedCache;
using test::PagedPiece;
using test::PagedSequence;

class DrawSizes {
 public:
  explicit DrawSizes(uint64_t seed) : generator_(seed) {}
  int64_t between(int64_t least, int64_t most) {
    return least + static_cast<int64_t>(generator_() % static_cast<uint64_t>(most - least + 1));
  }
  template <class T>
  T pick(std::initializer_list<T> values) {
    return values.begin()[between(0, std::ssize(values) - 1)];
  }

 private:
  std::mt19937_64 generator_;
};

std::vector<uint64_t> seeds(size_t whole, size_t sample) {
  std::vector<uint64_t> all(whole);
  std::iota(all.begin(), all.end(), test::test_seed() * whole);
  return test::sample(all, sample);
}

PagedShape draw_shape(DrawSizes& draw) {
  PagedShape s;
  s.num_kv_heads = draw.between(1, 3);
  s.num_heads = s.num_kv_heads * draw.pick<int64_t>({1, 1, 2, 3, 4, 7, 70});
  if (s.num_heads > 70) s.num_kv_heads = 1, s.num_heads = 70;
  s.head_dim = draw.pick<int64_t>({draw.between(1, 130), draw.between(1, 20), 64, 80, 128});
  s.scale = draw.pick({1.0f, 0.3f, 2.0f}) / std::sqrt(static_cast<float>(s.head_dim));
  s.window = draw.pick<int64_t>({0, 0, draw.between(1, 40), draw.between(1, 200)});
  s.soft_cap = draw.pick({0.0f, 0.0f, 1.5f});
  return s;
}

std::string describe(const PagedShape& s) {
  return fmt::format("{}/{} heads of {}, window {}, soft cap {}", s.num_heads, s.num_kv_heads, s.head_dim,
                     s.window, s.soft_cap);
}

// Row `row` of `out` has to be row `expected_row` of `expected`.
void expect_same_bits(const Tensor& out, int64_t row, const Tensor& expected, int64_t expected_row) {
  const auto bytes = static_cast<int64_t>(size_of(out.dtype())) * out.dim(1);
  ASSERT_EQ(out.dim(1), expected.dim(1));
  ASSERT_EQ(
      std::memcmp(static_cast<std::byte*>(out.raw()) + row * bytes,
                  static_cast<std::byte*>(expected.raw()) + expected_row * bytes, static_cast<size_t>(bytes)),
      0)
      << "row " << row << ", which is at place " << expected_row;
}

class AttentionOnCpu : public test::SharedContexts {
 protected:
  Context& draw_threads(DrawSizes& draw) { return context(static_cast<int>(draw.between(1, 3))); }

  // The sequences' rows in drawn pieces, those of several sequences together.
  void expect_pieces(DrawSizes& draw, PagedCache& cache, const std::vector<PagedSequence>& sequences,
                     const std::vector<Tensor>& expected) {
    const int64_t largest = draw.pick<int64_t>({1, 5, 40, 200});
    std::vector<int64_t> done(sequences.size(), 0);
    while (true) {
      std::vector<PagedPiece> pieces;
      for (size_t i = 0; i < sequences.size(); ++i) {
        const int64_t left = sequences[i].length() - done[i];
        const int64_t count = std::min(left, draw.between(draw.between(0, 2) == 0 ? 0 : 1, largest));
        if (count > 0) pieces.push_back({i, done[i], count});
        done[i] += count;
      }
      if (pieces.empty() && std::ranges::equal(done, sequences, {}, {}, &PagedSequence::length)) return;
      if (pieces.empty()) continue;
      if (draw.between(0, 1) == 0) std::ranges::reverse(pieces);
      const Tensor out = cache.step(draw_threads(draw), pieces);
      int64_t row = 0;
      for (const PagedPiece& p : pieces) {
        for (int64_t i = 0; i < p.count; ++i, ++row) {
          expect_same_bits(out, row, expected[p.sequence], p.before + i);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
};

TEST_F(AttentionOnCpu, ACacheChangesNoBit) {
  for (const uint64_t seed : seeds(400, 20)) {
    DrawSizes draw(seed);
    const PagedShape s = draw_shape(draw);
    const DType dtype = draw.pick({DType::f32, DType::bf16, DType::f16});
    std::vector<PagedSequence> sequences;
    std::vector<Tensor> expected;
    const int64_t longest = s.num_heads > 20 ? 40 : draw.pick<int64_t>({20, 90, 150});
    for (int64_t i = draw.between(1, 4); i > 0; --i) {
      sequences.emplace_back(context(), s, draw.between(1, longest), dtype, seed + static_cast<uint64_t>(i));
      expected.push_back(test::whole_attention(draw_threads(draw), s, sequences.back()));
    }
    const int64_t block_tokens = draw.pick<int64_t>({16, 32, 48, 64});
    SCOPED_TRACE(fmt::format("seed {}: {}, {} sequences in blocks of {}, {}", seed, describe(s),
                             sequences.size(), block_tokens, to_string(dtype)));
    PagedCache cache(context(), s, sequences, block_tokens, CacheType::plain, seed);
    expect_pieces(draw, cache, sequences, expected);
    if (HasFatalFailure()) return;
  }
}

// Of 8 bits there is no other op: the whole sequence at once stands for it.
TEST_F(AttentionOnCpu, PiecesChangeNoBitOfAnInt8Cache) {
  for (const uint64_t seed : seeds(100, 12)) {
    DrawSizes draw(seed);
    const PagedShape s = draw_shape(draw);
    const DType dtype = draw.pick({DType::f32, DType::bf16, DType::f16});
    SCOPED_TRACE(fmt::format("seed {}: {}, {}", seed, describe(s), to_string(dtype)));
    std::vector<PagedSequence> sequences;
    std::vector<Tensor> expected;
    for (int64_t i = draw.between(1, 3); i > 0; --i) {
      sequences.emplace_back(context(), s, draw.between(1, 70), dtype, seed + static_cast<uint64_t>(i));
      const std::vector<PagedSequence> one{sequences.back()};
      PagedCache cache(context(), s, one, 64, CacheType::int8, seed);
      expected.push_back(cache.step({{0, 0, one[0].length()}}));
    }
    PagedCache cache(context(), s, sequences, draw.pick<int64_t>({16, 32, 48}), CacheType::int8, seed);
    expect_pieces(draw, cache, sequences, expected);
    if (HasFatalFailure()) return;
  }
}

// Fewer tasks than threads, or not as many for each: the threads share them by places and columns.
TEST_F(AttentionOnCpu, SharingAFewLongSequencesChangesNoBit) {
  for (const uint64_t seed : seeds(40, 3)) {
    DrawSizes draw(seed);
    PagedShape s;
    s.num_kv_heads = draw.between(1, 3);
    s.num_heads = s.num_kv_heads * draw.between(1, 4);
    s.head_dim = draw.pick<int64_t>({64, 72, 80, 130});
    s.scale = 0.1f;
    s.window = draw.pick<int64_t>({0, 0, 1300});
    const DType dtype = draw.pick({DType::f32, DType::bf16, DType::f16});
    SCOPED_TRACE(fmt::format("seed {}: {}, {}", seed, describe(s), to_string(dtype)));
    const int64_t length = 1600 + draw.between(0, 40);
    const std::vector<PagedSequence> sequences{{context(), s, length, dtype, seed}};
    const Tensor expected = test::whole_attention(context(3), s, sequences[0]);
    for (const CacheType type : {CacheType::plain, CacheType::int8}) {
      PagedCache cache(context(), s, sequences, draw.pick<int64_t>({16, 32, 48}), type, seed);
      cache.step(context(3), {{0, 0, length}});
      const int64_t rows = draw.between(1, 3);
      const std::vector<PagedPiece> last{{0, length - rows, rows}};
      const Tensor alone = cache.attend(context(), last);
      for (const int threads : {2, 3}) {
        const Tensor shared = cache.attend(context(threads), last);
        for (int64_t i = 0; i < rows; ++i) {
          expect_same_bits(shared, i, alone, i);
          if (type == CacheType::plain) expect_same_bits(shared, i, expected, length - rows + i);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

Columns rows_of(const Columns& c, int64_t begin, int64_t end) {
  return {c.matrix.slice(begin, end), c.begin, c.count};
}

// Queries [begin, end) of a sequence over its keys up to the last query.
Tensor part_of(Context& ctx, const PagedShape& s, const PagedSequence& sequence, int64_t begin, int64_t end) {
  AttentionShape shape{1, end - begin, end, s.num_heads, s.num_kv_heads, s.head_dim, s.scale};
  shape.window = s.window;
  shape.soft_cap = s.soft_cap;
  const Tensor out = Tensor::empty(ctx, {end - begin, s.num_heads * s.head_dim}, sequence.qkv.dtype());
  const Tensor lse = Tensor::empty(ctx, {1, s.num_heads, end - begin}, DType::f32);
  ops::attention(ctx, shape, rows_of(sequence.q(), begin, end), rows_of(sequence.k(), 0, end),
                 rows_of(sequence.v(), 0, end), out, lse);
  return out;
}

TEST_F(AttentionOnCpu, OtherQueriesAndLaterKeysChangeNoBit) {
  for (const uint64_t seed : seeds(200, 30)) {
    DrawSizes draw(seed);
    const PagedShape s = draw_shape(draw);
    SCOPED_TRACE(fmt::format("seed {}: {}", seed, describe(s)));
    const PagedSequence sequence(context(), s, draw.between(2, s.num_heads > 20 ? 50 : 200),
                                 draw.pick({DType::f32, DType::bf16, DType::f16}), seed);
    const Tensor whole = test::whole_attention(draw_threads(draw), s, sequence);
    for (int i = 0; i < 4; ++i) {
      const int64_t end = draw.between(1, sequence.length()), begin = draw.between(0, end - 1);
      const Tensor part = part_of(draw_threads(draw), s, sequence, begin, end);
      for (int64_t row = 0; row < end - begin; ++row) {
        expect_same_bits(part, row, whole, begin + row);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Groups of tokens of a type at drawn distances, of numbers that it stands for exactly.
template <class B>
struct DrawnGroups {
  DrawnGroups(DrawSizes& draw, int64_t num, int64_t rows, int64_t columns)
      : stride(columns + draw.between(0, 20)) {
    for (int64_t i = 0; i < num; ++i) {
      // Nothing behind the last row's columns.
      auto& group = memory.emplace_back(static_cast<size_t>((rows - 1) * stride + columns));
      for (B& x : group) {
        x = static_cast<B>(static_cast<float>(draw.between(-100, 100)) *
                           (std::is_same_v<B, int8_t> ? 1 : 1 / 64.0f));
      }
      begins.push_back(group.data());
    }
  }
  ops::cpu::TokenGroups<B> groups() const { return {begins.data(), std::ssize(begins), stride}; }
  double at(int64_t group, int64_t row, int64_t column) const {
    return static_cast<float>(memory[static_cast<size_t>(group)][static_cast<size_t>(row * stride + column)]);
  }
  int64_t stride;
  std::vector<std::vector<B>> memory;
  std::vector<const B*> begins;
};

struct DrawnRows {
  DrawnRows(DrawSizes& draw, int64_t rows, int64_t columns) : stride(columns + draw.between(0, 3)) {
    for (int64_t i = 0; i < (rows - 1) * stride + columns; ++i) {
      values.push_back(static_cast<float>(draw.between(-1000, 1000)) / 512.0f);
    }
  }
  float at(int64_t row, int64_t column) const { return values[static_cast<size_t>(row * stride + column)]; }
  int64_t stride;
  std::vector<float> values;
};

void expect_close(float got, double expected) { ASSERT_NEAR(got, expected, 1e-5 * (1 + std::abs(expected))); }

template <class B>
void expect_scores(const AttentionKernels& kernels, DrawSizes& draw) {
  const int64_t m = draw.between(1, 19), groups = draw.between(1, 9), d = draw.between(1, 130);
  const DrawnGroups<B> keys(draw, groups, d, kTokenGroup);
  const DrawnRows queries(draw, m, d);
  const int64_t n = groups * kTokenGroup;
  DrawnRows scores(draw, m, n), in_pieces = scores;
  TokenProduct<B> p{m, queries.values.data(), queries.stride, keys.groups(), 0, n,
                    d, scores.values.data(),  scores.stride};
  kernels.of(B()).score(p);
  for (int64_t row = 0; row < m; row += p.m) {
    p.m = std::min(m - row, draw.between(1, 4));
    p.a = queries.values.data() + row * queries.stride;
    for (p.first = 0; p.first < n; p.first = p.end) {
      p.end = std::min(n, p.first + draw.between(1, 5) * kTokenGroup);
      p.c = in_pieces.values.data() + row * scores.stride + p.first;
      kernels.of(B()).score(p);
    }
  }
  ASSERT_EQ(scores.values, in_pieces.values);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double expected = 0;
      for (int64_t x = 0; x < d; ++x)
        expected += queries.at(i, x) * keys.at(j / kTokenGroup, x, j % kTokenGroup);
      expect_close(scores.at(i, j), expected);
    }
  }
}

template <class B>
void expect_sums_of_values(const AttentionKernels& kernels, DrawSizes& draw) {
  const int64_t m = draw.between(1, 19), groups = draw.between(1, 9), d = draw.between(1, 150);
  const DrawnGroups<B> values(draw, groups, kTokenGroup, d);
  const int64_t first = draw.between(0, 15), end = draw.between(first + 1, groups * kTokenGroup);
  const DrawnRows weights(draw, m, end - first);
  DrawnRows sums(draw, m, (d + kTokenGroup - 1) / kTokenGroup * kTokenGroup), in_pieces = sums;
  const DrawnRows before = sums;
  TokenProduct<B> p{m, weights.values.data(), weights.stride, values.groups(), first, end,
                    d, sums.values.data(),    sums.stride};
  kernels.of(B()).add_values(p);
  for (int64_t row = 0; row < m; row += p.m) {
    p.m = std::min(m - row, draw.between(1, 4));
    p.c = in_pieces.values.data() + row * sums.stride;
    for (p.first = first; p.first < end; p.first = p.end) {
      p.end = std::min(end, p.first + draw.between(1, 50));
      p.a = weights.values.data() + row * weights.stride + p.first - first;
      kernels.of(B()).add_values(p);
    }
  }
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < d; ++j) {
      double expected = before.at(i, j);
      for (int64_t x = first; x < end; ++x) {
        expected += weights.at(i, x - first) * values.at(x / kTokenGroup, x % kTokenGroup, j);
      }
      expect_close(sums.at(i, j), expected);
      ASSERT_EQ(sums.at(i, j), in_pieces.at(i, j));
    }
  }
}

TEST(AttentionKernelsOfEveryWidth, GiveTheSameChainsHoweverTheyAreCut) {
  for (const AttentionKernels* kernels : ops::cpu::all_attention_kernels()) {
    DrawSizes draw(test::test_seed() + 5);
    const auto expect = [&]<class B>(B) {
      expect_scores<B>(*kernels, draw);
      expect_sums_of_values<B>(*kernels, draw);
    };
    for (int i = 0; i < 10; ++i) {
      expect(float());
      expect(bf16());
      expect(fp16());
      expect(int8_t());
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(AttentionKernelsOfEveryWidth, PackKeys) {
  for (const AttentionKernels* kernels : ops::cpu::all_attention_kernels()) {
    DrawSizes draw(test::test_seed() + 6);
    for (int i = 0; i < 40; ++i) {
      const int64_t n = draw.between(1, kTokenGroup), d = draw.between(1, 130);
      const DrawnRows rows(draw, n, d);
      std::vector<float> group(static_cast<size_t>(d * kTokenGroup), 7.0f);
      kernels->pack_keys(rows.values.data(), rows.stride, n, d, group.data());
      for (int64_t x = 0; x < d * kTokenGroup; ++x) {
        const int64_t token = x % kTokenGroup;
        ASSERT_EQ(group[static_cast<size_t>(x)], token < n ? rows.at(token, x / kTokenGroup) : 0.0f);
      }
    }
  }
}

// Where a token lies: [block][head][head_dim][token of the block] of keys, [...][token][head_dim] of values.
TEST_F(AttentionOnCpu, TokensAreStoredAtTheirPlacesAndNothingElseIsTouched) {
  constexpr int64_t kHeads = 2, kDim = 5, kTokens = 16;
  const PagedShape s{2, kHeads, kDim};
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const std::vector<PagedSequence> sequences{{context(), s, 40, dtype, 1}};
    PagedCache cache(context(), s, sequences, kTokens, CacheType::plain, 3);
    cache.step(context(3), {{0, 14, 20}});
    const auto keys = test::to_vector(cache.blocks.keys), values = test::to_vector(cache.blocks.values);
    const auto& all = sequences[0].values;
    std::vector<bool> written(keys.size(), false);
    for (int64_t place = 14; place < 34; ++place) {
      const int64_t block = cache.table(0)[static_cast<size_t>(place / kTokens)], within = place % kTokens;
      for (int64_t h = 0; h < kHeads; ++h) {
        for (int64_t i = 0; i < kDim; ++i) {
          const int64_t head = (block * kHeads + h) * kTokens * kDim, row = place * sequences[0].qkv.dim(1);
          const auto key = static_cast<size_t>(head + i * kTokens + within);
          const auto value = static_cast<size_t>(head + within * kDim + i);
          EXPECT_EQ(keys[key], all[static_cast<size_t>(row + sequences[0].k().begin + h * kDim + i)]);
          EXPECT_EQ(values[value], all[static_cast<size_t>(row + sequences[0].v().begin + h * kDim + i)]);
          written[key] = true;
        }
      }
    }
    for (size_t i = 0; i < keys.size(); ++i) EXPECT_EQ(std::isnan(keys[i]), !written[i]) << i;
    EXPECT_EQ(std::ranges::count_if(values, [](float x) { return std::isnan(x); }),
              std::ranges::count(written, false));
  }
}

}  // namespace
}  // namespace trireme

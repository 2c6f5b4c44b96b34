#include "runtime/ops/attention/paged_attention.h"

#include <gtest/gtest.h>

#include "tests/runtime/ops/attention/paged_cache.h"
#include "tests/support/shared_contexts.h"

namespace trireme {
namespace {

using ops::CacheType;
using ops::PagedShape;
using test::PagedCache;
using test::PagedPiece;
using test::PagedSequence;
using test::to_vector;

using Doubles = std::vector<double>;

// By its definition, in double precision, of the numbers themselves.
Doubles reference(const PagedShape& s, const PagedSequence& sequence) {
  const auto all = to_vector(sequence.qkv);
  const int64_t d = s.head_dim, stride = sequence.qkv.dim(1), n = sequence.length();
  Doubles out(static_cast<size_t>(n * s.num_heads * d));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t h = 0; h < s.num_heads; ++h) {
      const int64_t kv = h / (s.num_heads / s.num_kv_heads) * d;
      const float* q = all.data() + i * stride + sequence.q().begin + h * d;
      double* o = out.data() + (i * s.num_heads + h) * d;
      double sum = 0;
      for (int64_t j = s.window > 0 ? std::max<int64_t>(0, i + 1 - s.window) : 0; j <= i; ++j) {
        const float* k = all.data() + j * stride + sequence.k().begin + kv;
        const float* v = all.data() + j * stride + sequence.v().begin + kv;
        double score = 0;
        for (int64_t c = 0; c < d; ++c) score += static_cast<double>(q[c]) * k[c];
        score *= s.scale;
        if (s.soft_cap > 0) score = s.soft_cap * std::tanh(score / s.soft_cap);
        const double p = std::exp(score);
        sum += p;
        for (int64_t c = 0; c < d; ++c) o[c] += p * v[c];
      }
      for (int64_t c = 0; c < d; ++c) o[c] /= sum;
    }
  }
  return out;
}

void expect_near(const std::vector<float>& got, const Doubles& expected, double tolerance) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], tolerance) << i;
}

class PagedAttention : public test::SharedContexts, public testing::WithParamInterface<DType> {};

TEST_P(PagedAttention, MatchesDoublePrecision) {
  Context& ctx = context();
  const double tolerance = GetParam() == DType::bf16 ? 0x1p-6 : GetParam() == DType::f16 ? 0x1p-9 : 5e-6;
  for (const PagedShape& s :
       {PagedShape{1, 1, 1, 1}, {4, 2, 33, 0.2f}, {3, 1, 64, 0.125f, 20}, {2, 2, 128, 0.1f, 0, 2.0f}}) {
    for (const int64_t length : {1, 16, 77}) {
      const std::vector<PagedSequence> sequences{{ctx, s, length, GetParam(), 1}};
      PagedCache cache(ctx, s, sequences, 16, CacheType::plain, 1);
      expect_near(to_vector(cache.step({{0, 0, length}})), reference(s, sequences[0]), tolerance);
    }
  }
}

// Of keys and values in 8 bits, whose numbers are off by up to half a step, largest / 254: a score by e =
// scale
// * |q|_1 * largest key / 254, a weight by a factor of up to exp(2 e), and an output by (exp(2 e) - 1) *
// largest value for the weights and largest value / 254 for the values.
TEST_P(PagedAttention, Int8IsOffByTheStepsOfItsCodes) {
  Context& ctx = context();
  const double rounding = GetParam() == DType::bf16 ? 0x1p-7 : GetParam() == DType::f16 ? 0x1p-10 : 1e-5;
  for (const PagedShape& s : {PagedShape{4, 2, 33, 0.05f}, {3, 1, 64, 0.02f, 20}, {2, 2, 128, 0.02f}}) {
    const int64_t length = 77, d = s.head_dim;
    const std::vector<PagedSequence> sequences{{ctx, s, length, GetParam(), 1}};
    const PagedSequence& sequence = sequences[0];
    const auto largest = [&](const ops::Columns& c, int64_t first_row, int64_t rows, int64_t column,
                             bool sum) {
      double most = 0;
      for (int64_t row = first_row; row < first_row + rows; ++row) {
        double all = 0;
        for (int64_t i = 0; i < d; ++i) {
          const double x =
              std::abs(sequence.values[static_cast<size_t>(row * c.stride() + c.begin + column + i)]);
          all = sum ? all + x : std::max(all, x);
        }
        most = std::max(most, all);
      }
      return most;
    };
    PagedCache cache(ctx, s, sequences, 32, CacheType::int8, 1);
    const auto got = to_vector(cache.step({{0, 0, length}}));
    const Doubles expected = reference(s, sequence);
    double most_off = 0;
    for (int64_t row = 0; row < length; ++row) {
      const int64_t first = s.window > 0 ? std::max<int64_t>(0, row + 1 - s.window) : 0;
      for (int64_t h = 0; h < s.num_heads; ++h) {
        const int64_t kv = h / (s.num_heads / s.num_kv_heads) * d;
        const double e = s.scale * largest(sequence.q(), row, 1, h * d, true) *
                         largest(sequence.k(), first, row + 1 - first, kv, false) / 254;
        const double value = largest(sequence.v(), first, row + 1 - first, kv, false);
        const double bound = (std::expm1(2 * e) + 1.0 / 254 + rounding) * value;
        for (int64_t i = 0; i < d; ++i) {
          const auto at = static_cast<size_t>((row * s.num_heads + h) * d + i);
          most_off = std::max(most_off, std::abs(got[at] - expected[at]));
          ASSERT_NEAR(got[at], expected[at], bound) << row << ", head " << h;
        }
      }
    }
    EXPECT_GT(most_off, 1e-4) << "of codes of 8 bits";
  }
}

// Zeros, which have no step, and numbers that are the steps exactly.
TEST_P(PagedAttention, Int8KeepsWhatItsCodesCanSay) {
  Context& ctx = context();
  const PagedShape s{1, 1, 4, 1.0f};
  const Tensor q = test::make_tensor(ctx, {2, 4}, GetParam(), {1, 0, 0, 0, 0, 0, 0, 0});
  const Tensor k = test::make_tensor(ctx, {2, 4}, GetParam(), {0, 0, 0, 0, 0, 0, 0, 0});
  const Tensor v = test::make_tensor(ctx, {2, 4}, GetParam(), {127, -127, 64, -3, 0, 0, 0, 0});
  const ops::KeyValueBlocks blocks =
      ops::make_key_value_blocks(ctx, 1, 1, 4, 16, GetParam(), CacheType::int8);
  ops::PagedRows rows;
  rows.block_tables = ops::to_device(ctx, std::vector<int32_t>{0}, {1, 1});
  rows.sequences = ops::to_device(ctx, std::vector<int32_t>{0, 0}, {2});
  rows.places = ops::to_device(ctx, std::vector<int32_t>{0, 1}, {2});
  rows.starts = {0, 2};
  rows.lengths = {2};
  ops::store_keys_values(ctx, rows, k, v, blocks);
  const Tensor out = Tensor::empty(ctx, {2, 4}, GetParam());
  ops::paged_attention(ctx, s, rows, q, blocks, out);
  EXPECT_EQ(to_vector(out), (std::vector<float>{127, -127, 64, -3, 63.5, -63.5, 32, -1.5}));
}

// A prompt's last block is shared until one of two continuations writes to it.
TEST_P(PagedAttention, ACopiedBlockStandsForTheOther) {
  Context& ctx = context();
  const PagedShape s{2, 1, 24, 0.2f};
  for (const CacheType type : {CacheType::plain, CacheType::int8}) {
    const std::vector<PagedSequence> sequences{{ctx, s, 40, GetParam(), 1}};
    PagedCache cache(ctx, s, sequences, 16, type, 1);
    const auto expected = to_vector(cache.step({{0, 0, 40}}));
    std::vector<int32_t> from, to;
    for (int32_t i = 0; i < cache.blocks.num_blocks(); ++i) {
      if (std::ranges::find(cache.table(0), i) == cache.table(0).end()) to.push_back(i);
    }
    ASSERT_EQ(to.size(), 2u);
    from = {cache.table(0)[2], cache.table(0)[0]};
    ops::copy_blocks(ctx, cache.blocks, from, to);
    cache.replace(0, 2, to[0]);
    cache.replace(0, 0, to[1]);
    EXPECT_EQ(to_vector(cache.attend({{0, 0, 40}})), expected);
  }
}

INSTANTIATE_TEST_SUITE_P(, PagedAttention, testing::Values(DType::f32, DType::bf16, DType::f16),
                         [](const auto& types) { return std::string(to_string(types.param)); });

}  // namespace
}  // namespace trireme

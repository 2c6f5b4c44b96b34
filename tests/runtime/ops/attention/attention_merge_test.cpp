#include "runtime/ops/attention/attention_merge.h"

#include <limits>

#include "runtime/ops/attention/attention.h"
#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

constexpr float kBlind = -std::numeric_limits<float>::infinity();

class AttentionMerge : public OpTest {
 protected:
  // [first, first + n) of `len` queries, against the sums by their definition in double.
  void expect_merge(int64_t batch, int64_t heads, int64_t head_dim, int64_t len, int64_t first, int64_t n) {
    SCOPED_TRACE(fmt::format("batch {} heads {} x {}, queries [{}, {}) of {}", batch, heads, head_dim, first,
                             first + n, len));
    const int64_t width = heads * head_dim;
    const Tensor part = random_tensor(ctx_, {batch * n, width}, dtype(), 1);
    const Tensor part_lse = random_tensor(ctx_, {batch, heads, n}, DType::f32, 2, 3.0f);
    const Tensor out = random_tensor(ctx_, {batch * len, width}, DType::f32, 3);
    const Tensor lse = random_tensor(ctx_, {batch, heads, len}, DType::f32, 4, 3.0f);
    const auto a = to_vector(out), la = to_vector(lse), b = to_vector(part), lb = to_vector(part_lse);
    const Tensor out_of_threads = clone(threads_, out), lse_of_threads = clone(threads_, lse);
    ops::merge_attention(ctx_, part, part_lse, first, out, lse);
    ops::merge_attention(threads_, part, part_lse, first, out_of_threads, lse_of_threads);
    EXPECT_TRUE(same_bits(out, out_of_threads) && same_bits(lse, lse_of_threads)) << "three threads";

    std::vector<double> expected(a.begin(), a.end()), expected_lse(la.begin(), la.end());
    for (int64_t s = 0; s < batch; ++s) {
      for (int64_t h = 0; h < heads; ++h) {
        for (int64_t i = 0; i < n; ++i) {
          const auto at = static_cast<size_t>((s * heads + h) * len + first + i);
          const double from = lb[static_cast<size_t>((s * heads + h) * n + i)];
          const double ea = std::exp(static_cast<double>(la[at])), eb = std::exp(from);
          expected_lse[at] = std::log(ea + eb);
          for (int64_t d = 0; d < head_dim; ++d) {
            const auto to = static_cast<size_t>((s * len + first + i) * width + h * head_dim + d);
            const double added = b[static_cast<size_t>((s * n + i) * width + h * head_dim + d)];
            expected[to] = (a[to] * ea + added * eb) / (ea + eb);
          }
        }
      }
    }
    expect_close(to_vector(out), expected, 2e-6);
    expect_close(to_vector(lse), expected_lse, 2e-6);
  }
};

TEST_P(AttentionMerge, IsTheWeightedMeanOfBothParts) {
  expect_merge(1, 1, 1, 1, 0, 1);
  expect_merge(2, 3, 5, 6, 3, 3);
  expect_merge(3, 2, 33, 7, 0, 7);
  expect_merge(2, 4, 16, 9, 2, 4);
  expect_merge(1, 12, 64, 130, 65, 65);
  expect_merge(2, 2, 8, 5, 5, 0);
}

TEST_P(AttentionMerge, APartThatSawNoKeyCountsForNothing) {
  const Tensor part = full(ctx_, {3, 2}, dtype(), 5.0f);
  const Tensor part_lse = make_tensor(ctx_, {1, 1, 3}, DType::f32, {kBlind, 1.0f, kBlind});
  const Tensor out = make_tensor(ctx_, {3, 2}, DType::f32, {1, 2, 0, 0, 0, 0});
  const Tensor lse = make_tensor(ctx_, {1, 1, 3}, DType::f32, {2.0f, kBlind, kBlind});
  ops::merge_attention(ctx_, part, part_lse, 0, out, lse);
  EXPECT_EQ(to_vector(out), (std::vector<float>{1, 2, 5, 5, 0, 0}));
  EXPECT_EQ(to_vector(lse), (std::vector<float>{2.0f, 1.0f, kBlind}));
}

TEST_P(AttentionMerge, HugeScoresDoNotOverflow) {
  const Tensor part = full(ctx_, {2, 1}, dtype(), 3.0f);
  const Tensor part_lse = make_tensor(ctx_, {1, 1, 2}, DType::f32, {1e30f, -1e30f});
  const Tensor out = full(ctx_, {2, 1}, DType::f32, 7.0f);
  const Tensor lse = make_tensor(ctx_, {1, 1, 2}, DType::f32, {-1e30f, 1e30f});
  ops::merge_attention(ctx_, part, part_lse, 0, out, lse);
  EXPECT_EQ(to_vector(out), (std::vector<float>{3, 7}));
}

TEST_P(AttentionMerge, RefusesArgumentsThatDoNotFit) {
  const auto merge = [&](const Shape& part, const Shape& part_lse, int64_t first, const Shape& out,
                         DType out_type = DType::f32) {
    ops::merge_attention(ctx_, Tensor::empty(ctx_, part, dtype()), Tensor::empty(ctx_, part_lse, DType::f32),
                         first, Tensor::empty(ctx_, out, out_type),
                         Tensor::empty(ctx_, {2, 3, 4}, DType::f32));
  };
  EXPECT_THROW(merge({4, 6}, {2, 3, 2}, 3, {8, 6}), InternalError);  // beyond the last query
  EXPECT_THROW(merge({4, 6}, {2, 3, 2}, -1, {8, 6}), InternalError);
  EXPECT_THROW(merge({4, 7}, {2, 3, 2}, 0, {8, 7}), InternalError);  // no three heads
  EXPECT_THROW(merge({4, 6}, {2, 2, 2}, 0, {8, 6}), InternalError);
  EXPECT_THROW(merge({3, 6}, {2, 3, 2}, 0, {8, 6}), InternalError);
  EXPECT_THROW(merge({4, 6}, {2, 3, 2}, 0, {8, 6}, DType::bf16), InternalError);
}

TRIREME_FOR_COMPUTE_TYPES(AttentionMerge);

}  // namespace
}  // namespace trireme::test

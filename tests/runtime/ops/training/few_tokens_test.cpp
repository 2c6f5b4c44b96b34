#include "runtime/ops/training/few_tokens.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <tuple>

#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

using Row = std::vector<double>;
constexpr float kNone = -std::numeric_limits<float>::infinity();

/// A vocabulary in parts of these sizes, in one matrix with columns of nobody's around it.
struct Sharded {
  ops::Columns all;
  std::vector<int64_t> widths;

  ops::Columns part(size_t p) const {
    const int64_t before =
        std::accumulate(widths.begin(), widths.begin() + static_cast<ptrdiff_t>(p), int64_t{0});
    return {all.matrix, all.begin + before, widths[p]};
  }
  int64_t first(size_t p) const { return part(p).begin - all.begin; }
  int64_t parts() const { return std::ssize(widths); }
};

struct Few {
  std::vector<int32_t> ids;
  std::vector<float> probabilities;
};

Tensor statistics_of(Context& ctx, const Sharded& v, const ops::LogitSoftmax& softmax) {
  const Tensor all = Tensor::empty(ctx, {v.parts(), v.all.rows(), 2}, DType::f64);
  for (size_t p = 0; p < v.widths.size(); ++p) {
    const auto at = static_cast<int64_t>(p);
    ops::softmax_statistics(ctx, v.part(p), softmax, all.slice(at, at + 1).view({v.all.rows(), 2}));
  }
  return all;
}

Few likeliest(Context& ctx, const Sharded& v, const ops::LogitSoftmax& softmax, int64_t k) {
  const int64_t rows = v.all.rows();
  const Tensor ids = Tensor::empty(ctx, {v.parts(), rows, k}, DType::i32),
               values = Tensor::empty(ctx, {v.parts(), rows, k}, DType::f32),
               few = Tensor::empty(ctx, {rows, k}, DType::i32),
               probabilities = Tensor::empty(ctx, {rows, k}, DType::f32);
  for (size_t p = 0; p < v.widths.size(); ++p) {
    const auto at = static_cast<int64_t>(p);
    ops::likeliest_columns(ctx, v.part(p), softmax, v.first(p), ids.slice(at, at + 1).view({rows, k}),
                           values.slice(at, at + 1).view({rows, k}));
  }
  ops::merge_likeliest(ctx, softmax, statistics_of(ctx, v, softmax), ids, values, few, probabilities);
  return {read<int32_t>(few), read<float>(probabilities)};
}

/// The draws as they were, one after the other.
std::vector<int32_t> draw(Context& ctx, const Sharded& v, const ops::LogitSoftmax& softmax, int64_t n,
                          const ops::DrawOptions& options, const std::vector<int32_t>& places) {
  std::vector<int32_t> all(static_cast<size_t>(v.all.rows() * n), -1);
  const Tensor statistics = statistics_of(ctx, v, softmax), where = make_indices(ctx, places);
  for (size_t p = 0; p < v.widths.size(); ++p) {
    const Tensor here = Tensor::empty(ctx, {v.all.rows(), n}, DType::i32);
    ops::draw_columns(ctx, v.part(p), softmax, v.first(p), static_cast<int64_t>(p), options, where,
                      statistics, here);
    const std::vector<int32_t> drawn = read<int32_t>(here);
    for (size_t i = 0; i < all.size(); ++i) {
      EXPECT_TRUE(drawn[i] < 0 || all[i] < 0) << "draw " << i << " lies in two parts";
      all[i] = std::max(all[i], drawn[i]);
    }
  }
  return all;
}

Row softmax_of(const float* logits, int64_t n, const ops::LogitSoftmax& s) {
  Row p(static_cast<size_t>(n));
  for (size_t i = 0; i < p.size(); ++i) {
    const double x = logits[i], cap = s.soft_cap;
    p[i] = std::isinf(x) ? 0 : std::exp((cap > 0 ? cap * std::tanh(x / cap) : x) / s.temperature);
  }
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= sum;
  return p;
}

class FewTokensOps : public OpTest {
 protected:
  Sharded random(int64_t rows, const std::vector<int64_t>& widths, uint64_t seed) {
    const int64_t width = std::accumulate(widths.begin(), widths.end(), int64_t{0});
    return {{random_tensor(ctx_, {rows, width + 5}, dtype(), seed, 3.0f), 2, width}, widths};
  }
};

TEST_P(FewTokensOps, TheLikeliestOfAllPartsInTheirOrder) {
  const std::vector<std::tuple<std::vector<int64_t>, int64_t, ops::LogitSoftmax>> cases = {
      {{300}, 1, {}},
      {{1031}, 64, {0, 2}},
      {{700, 3, 601}, 40, {4, 0.7f}},
      {{5, 6}, 11, {}},
      {{3, 2}, 9, {}}};
  for (const auto& [widths, k, softmax] : cases) {
    const Sharded v = random(3, widths, 7);
    const std::vector<float> logits = to_vector(v.all.matrix);
    for (Context* ctx : {&ctx_, &threads_}) {
      const Few few = likeliest(*ctx, v, softmax, k);
      for (int64_t row = 0; row < 3; ++row) {
        const float* x = logits.data() + row * v.all.stride() + v.all.begin;
        const Row p = softmax_of(x, v.all.count, softmax);
        std::vector<int32_t> order(p.size());
        std::iota(order.begin(), order.end(), 0);
        std::ranges::stable_sort(order, [&](int32_t a, int32_t b) { return x[a] > x[b]; });
        for (int64_t i = 0; i < k; ++i) {
          const auto at = static_cast<size_t>(row * k + i);
          const bool is_there = i < v.all.count;
          ASSERT_EQ(few.ids[at], is_there ? order[static_cast<size_t>(i)] : -1) << "k " << k << ", " << i;
          ASSERT_NEAR(few.probabilities[at], is_there ? p[static_cast<size_t>(few.ids[at])] : 0, 3e-6);
        }
      }
    }
  }
}

TEST_P(FewTokensOps, DrawsAreTheSameInAnyPartsAndFollowTheDistribution) {
  const ops::LogitSoftmax softmax{6, 1.3f};
  const int64_t rows = 4, n = 800;
  const Sharded whole = random(rows, {613}, 3), parts{whole.all, {300, 1, 12, 300}};
  const ops::DrawOptions options{.key = 5, .first_sample = 7, .rows_a_sample = 3, .first_row = 1};
  const std::vector<int32_t> places = {4, 5, 0, 1};
  const std::vector<int32_t> drawn = draw(ctx_, whole, softmax, n, options, places);
  const std::vector<int32_t> in_parts = draw(threads_, parts, softmax, n, options, places);
  int64_t differ = 0;  // where a draw falls on the seam of two columns
  for (size_t i = 0; i < drawn.size(); ++i) differ += drawn[i] != in_parts[i] ? 1 : 0;
  EXPECT_LE(differ, 2);
  const std::vector<float> logits = to_vector(whole.all.matrix);
  double chi_squared = 0;
  int64_t bins = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const Row p = softmax_of(logits.data() + row * whole.all.stride() + whole.all.begin, 613, softmax);
    Row counts(p.size());
    for (int64_t i = 0; i < n; ++i)
      counts.at(static_cast<size_t>(drawn[static_cast<size_t>(row * n + i)])) += 1;
    for (size_t c = 0; c < p.size(); ++c) {
      const double expected = p[c] * static_cast<double>(n);
      if (expected < 2) continue;
      chi_squared += (counts[c] - expected) * (counts[c] - expected) / expected;
      ++bins;
    }
  }
  ASSERT_GT(bins, 100);
  EXPECT_LT(chi_squared, static_cast<double>(bins) + 5 * std::sqrt(2.0 * static_cast<double>(bins)));
  // Row 0 is place 4 of sample 7, row 2 place 0 of sample 8: as they would be alone.
  const Sharded alone{{whole.all.matrix.slice(2, 3), whole.all.begin, 613}, {613}};
  const std::vector<int32_t> again =
      draw(ctx_, alone, softmax, n, {.key = 5, .first_sample = 8, .rows_a_sample = 1}, {0});
  EXPECT_TRUE(std::equal(again.begin(), again.end(), drawn.begin() + 2 * n));
}

TEST_P(FewTokensOps, EqualDrawsBecomeOne) {
  const Tensor draws = Tensor::empty(ctx_, {3, 5}, DType::i32), ids = Tensor::empty(ctx_, {3, 5}, DType::i32),
               probabilities = Tensor::empty(ctx_, {3, 5}, DType::f32);
  write(draws, std::vector<int32_t>{9, 2, 9, 9, 0, 4, 4, 4, 4, 4, -1, -1, -1, -1, -1});
  ops::merge_draws(ctx_, draws, ids, probabilities);
  EXPECT_EQ(read<int32_t>(ids),
            (std::vector<int32_t>{0, 2, 9, -1, -1, 4, -1, -1, -1, -1, 0, -1, -1, -1, -1}));
  const std::vector<float> p = read<float>(probabilities);
  expect_close({p.begin(), p.begin() + 10}, {0.2, 0.2, 0.6, 0, 0, 1, 0, 0, 0, 0}, 1e-7);
  EXPECT_TRUE(std::isnan(p[10]));
}

TEST_P(FewTokensOps, TiesMissingTokensAndDamagedRows) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> values = {1,     2,     2,     kNone, 2,     0,      //
                                     kNone, kNone, kNone, 5,     kNone, kNone,  //
                                     kNone, kNone, kNone, kNone, kNone, kNone,  //
                                     0,     nan,   1,     2,     3,     4};
  for (const float cap : {0.0f, 8.0f}) {
    const Sharded v{make_tensor(ctx_, {4, 6}, dtype(), values), {2, 4}};
    const Few few = likeliest(ctx_, v, {.soft_cap = cap}, 3);
    EXPECT_EQ(few.ids, (std::vector<int32_t>{1, 2, 4, 3, -1, -1, 0, -1, -1, 0, -1, -1})) << cap;
    EXPECT_NEAR(few.probabilities[3], 1, 1e-6);
    for (const size_t damaged : {size_t{6}, size_t{9}}) EXPECT_TRUE(std::isnan(few.probabilities[damaged]));
    const std::vector<int32_t> drawn = draw(ctx_, v, {.soft_cap = cap}, 40, {}, {0, 0, 0, 0});
    for (size_t i = 0; i < 40; ++i) {
      EXPECT_NE(drawn[i], 3);
      EXPECT_EQ(drawn[40 + i], 3);
      EXPECT_EQ(drawn[80 + i], -1);
      EXPECT_EQ(drawn[120 + i], -1);
    }
  }
}

TRIREME_FOR_COMPUTE_TYPES(FewTokensOps);

}  // namespace
}  // namespace trireme::test

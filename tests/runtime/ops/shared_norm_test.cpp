// RMSNorm of rows that two ranks share, against doubles of the whole rows.
#include "runtime/ops/shared_norm.h"

#include <cmath>

#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

using SharedNormTest = OpTest;
TRIREME_FOR_COMPUTE_TYPES(SharedNormTest);

constexpr double kEps = 1e-5;
using Doubles = std::vector<double>;

struct Case {
  int64_t rows, columns, other;  ///< of the first rank, and of the second
};
constexpr Case kCases[] = {{0, 8, 8}, {1, 1, 1}, {3, 5, 2}, {70, 33, 8}, {9, 64, 320}, {4, 4, 1030}};

/// The columns that a rank holds, in matrices that are NaN beside them.
struct Rank {
  ops::Columns x, dy, y, rstd, sums;
  Tensor gain, dgain;

  Rank(Context& ctx, int64_t rows, int64_t count, DType dtype, uint64_t seed)
      : x(columns(ctx, rows, count, dtype, seed)),
        dy(columns(ctx, rows, count, dtype, seed + 1)),
        y(columns(ctx, rows, count, dtype, seed + 2)),
        rstd(columns(ctx, rows, 1, DType::f32, seed + 3)),
        sums(columns(ctx, rows, 1, DType::f32, seed + 4)),
        gain(random_tensor(ctx, {count}, DType::f32, seed + 5)),
        dgain(full(ctx, {count}, DType::f32, 2.0f)) {}

 private:
  static ops::Columns columns(Context& ctx, int64_t rows, int64_t count, DType dtype, uint64_t seed) {
    return widened(ctx, random_tensor(ctx, {rows, count}, dtype, seed, 2.0f), count % 8 == 0 ? 8 : 3, 8);
  }
};

struct Ranks {
  std::array<Rank, 2> of;
  int64_t width;

  Ranks(Context& ctx, const Case& c, DType dtype)
      : of{Rank(ctx, c.rows, c.columns, dtype, 10), Rank(ctx, c.rows, c.other, dtype, 20)},
        width(c.columns + c.other) {}

  /// What an all-reduce does with one column of each.
  void sum(Context& ctx, ops::Columns Rank::*column) {
    const auto a = to_vector(of[0].*column), b = to_vector(of[1].*column);
    std::vector<float> sums;
    for (size_t i = 0; i < a.size(); ++i) sums.push_back(a[i] + b[i]);
    for (Rank& rank : of)
      rank.*column = make_tensor(ctx, {static_cast<int64_t>(sums.size()), 1}, DType::f32, sums);
  }
  void forward(Context& ctx) {
    for (Rank& rank : of) ops::shared_norm_squares(ctx, rank.x, rank.rstd);
    sum(ctx, &Rank::rstd);
    for (Rank& rank : of) ops::shared_norm(ctx, rank.x, rank.rstd, width, rank.gain, kEps, rank.y, rank.rstd);
  }
  void backward(Context& ctx) {
    for (Rank& rank : of)
      ops::shared_norm_backward_sums(ctx, rank.dy, rank.x, rank.gain, rank.rstd, rank.sums, rank.dgain);
    sum(ctx, &Rank::sums);
  }
};

/// Both ranks' rows in doubles.
struct Reference {
  std::array<Doubles, 2> y, dx, dgain;
  Doubles rstd;

  explicit Reference(const Ranks& ranks) {
    std::array<std::vector<float>, 2> x, dy, gain;
    for (size_t r = 0; r < 2; ++r) {
      x[r] = to_vector(ranks.of[r].x);
      dy[r] = to_vector(ranks.of[r].dy);
      gain[r] = to_vector(ranks.of[r].gain);
      dgain[r].assign(gain[r].size(), 2.0);
    }
    const auto rows = static_cast<size_t>(ranks.of[0].x.rows());
    const auto for_row = [&](size_t n, const auto& take) {
      for (size_t r = 0; r < 2; ++r) {
        const size_t width = gain[r].size();
        for (size_t i = 0; i < width; ++i)
          take(r, i, double{x[r][n * width + i]}, double{dy[r][n * width + i]});
      }
    };
    for (size_t n = 0; n < rows; ++n) {
      double squares = 0, mean = 0;
      const auto width = static_cast<double>(ranks.width);
      for_row(n, [&](size_t, size_t, double value, double) { squares += value * value; });
      const double scale = 1 / std::sqrt(squares / width + kEps);
      rstd.push_back(scale);
      for_row(n, [&](size_t r, size_t i, double value, double d) {
        const double h = value * scale;
        y[r].push_back(h * gain[r][i]);
        dgain[r][i] += d * h;
        mean += d * gain[r][i] * h / width;
      });
      for_row(n, [&](size_t r, size_t i, double value, double d) {
        dx[r].push_back(scale * (d * gain[r][i] - value * scale * mean));
      });
    }
  }
};

TEST_P(SharedNormTest, BothWaysMatchDoublesOfWholeRows) {
  for (const Case& c : kCases) {
    Ranks ranks(ctx_, c, dtype());
    const Reference expected(ranks);
    ranks.forward(ctx_);
    for (size_t r = 0; r < 2; ++r) {
      expect_close(to_vector(ranks.of[r].y), expected.y[r], tolerance());
      expect_close(to_vector(ranks.of[r].rstd), expected.rstd, 4e-6);
    }
    ranks.backward(ctx_);
    for (size_t r = 0; r < 2; ++r) {
      const Rank& rank = ranks.of[r];
      ops::shared_norm_backward(ctx_, rank.dy, rank.x, rank.gain, rank.rstd, rank.sums, ranks.width, rank.y);
      expect_close(to_vector(rank.y), expected.dx[r], tolerance());
      expect_close(to_vector(rank.dgain), expected.dgain[r], 1e-5, 3.0);
      ops::shared_norm_backward(ctx_, rank.dy, rank.x, rank.gain, rank.rstd, rank.sums, ranks.width, rank.dy);
      EXPECT_EQ(to_vector(rank.dy), to_vector(rank.y)) << "in place";
    }
  }
}

TEST_P(SharedNormTest, RefusesWhatDoesNotFit) {
  const Rank in(ctx_, 3, 5, dtype(), 1);
  const Tensor other = full(ctx_, {4}, DType::f32, 1.0f);
  EXPECT_THROW(ops::shared_norm_squares(ctx_, in.x, in.y), InternalError);
  EXPECT_THROW(ops::shared_norm(ctx_, in.x, in.rstd, 4, in.gain, kEps, in.y, in.rstd), InternalError);
  EXPECT_THROW(ops::shared_norm(ctx_, in.x, in.rstd, 5, other, kEps, in.y, in.rstd), InternalError);
  EXPECT_THROW(ops::shared_norm(ctx_, in.x, in.rstd, 5, in.gain, kEps, {in.y.matrix, 3, 4}, in.rstd),
               InternalError);
  EXPECT_THROW(ops::shared_norm_backward_sums(ctx_, in.dy, in.x, in.gain, in.rstd, in.sums, other),
               InternalError);
  EXPECT_THROW(ops::shared_norm_backward(ctx_, in.dy, in.x, in.gain, in.rstd, in.y, 5, in.y), InternalError);
}

}  // namespace
}  // namespace trireme::test

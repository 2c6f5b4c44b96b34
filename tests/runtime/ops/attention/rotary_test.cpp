#include "runtime/ops/attention/rotary.h"

#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

using RotaryTest = OpTest;
TRIREME_FOR_COMPUTE_TYPES(RotaryTest);

using ops::Columns;

/// Cosines and sines of position / 10000^(2 i / head_dim).
Tensor angle_table(Context& ctx, int64_t positions, int64_t head_dim) {
  std::vector<float> values(static_cast<size_t>(positions * head_dim));
  for (int64_t p = 0; p < positions; ++p) {
    for (int64_t i = 0; i < head_dim / 2; ++i) {
      const double angle = static_cast<double>(p) *
                           std::pow(1e4, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
      values[static_cast<size_t>(p * head_dim + i)] = static_cast<float>(std::cos(angle));
      values[static_cast<size_t>(p * head_dim + head_dim / 2 + i)] = static_cast<float>(std::sin(angle));
    }
  }
  return make_tensor(ctx, {positions, head_dim}, DType::f32, values);
}

struct Case {
  int64_t rows, head_dim, num_heads, before, after;  // columns before and behind the heads
  int64_t rotated = head_dim;
};
constexpr Case kCases[] = {{0, 4, 1, 0, 0},        {1, 2, 1, 0, 0},      {5, 6, 3, 4, 7},
                           {90, 64, 5, 64, 128},   {5, 7, 3, 4, 7, 4},   {7, 64, 2, 0, 8, 16},
                           {30, 80, 3, 80, 3, 32}, {3, 20, 2, 1, 0, 18}, {3, 9, 1, 0, 0, 2}};

class Rotation {
 public:
  Rotation(Context& ctx, const Case& c, DType dtype)
      : matrix(random_tensor(ctx, {c.rows, c.before + c.num_heads * c.head_dim + c.after}, dtype, 1)),
        heads{matrix, c.before, c.num_heads * c.head_dim},
        table(angle_table(ctx, 100, c.rotated)),
        positions(make_indices(ctx, scattered(c.rows))) {}

  const Tensor matrix;
  const Columns heads;
  const Tensor table, positions;

 private:
  static std::vector<int32_t> scattered(int64_t rows) {
    std::vector<int32_t> positions;
    for (int64_t n = 0; n < rows; ++n) positions.push_back(static_cast<int32_t>(n * 37 % 100));
    return positions;
  }
};

TEST_P(RotaryTest, TurnsThePairsOfEveryHeadAndNothingElse) {
  for (const Case& c : kCases) {
    const Rotation r(ctx_, c, dtype());
    const auto before = to_vector(r.matrix), table = to_vector(r.table);
    std::vector<double> expected(before.begin(), before.end());
    for (int64_t n = 0; n < c.rows; ++n) {
      const size_t angles = static_cast<size_t>(read<int32_t>(r.positions)[n] * c.rotated);
      const auto half = static_cast<size_t>(c.rotated / 2);
      for (int64_t h = 0; h < c.num_heads; ++h) {
        const auto head = static_cast<size_t>(n * r.heads.stride() + c.before + h * c.head_dim);
        for (size_t i = 0; i < half; ++i) {
          const double a = before[head + i], b = before[head + half + i];
          const double cosine = table[angles + i], sine = table[angles + half + i];
          expected[head + i] = a * cosine - b * sine;
          expected[head + half + i] = a * sine + b * cosine;
        }
      }
    }
    ops::rotary(ctx_, r.heads, c.head_dim, r.positions, r.table, false);
    expect_close(to_vector(r.matrix), expected, tolerance());
  }
}

TEST_P(RotaryTest, InverseTurnsBack) {
  const Case& c = kCases[3];
  const Rotation r(ctx_, c, dtype());
  const auto before = to_vector(r.matrix);
  ops::rotary(ctx_, r.heads, c.head_dim, r.positions, r.table, false);
  EXPECT_NE(to_vector(r.matrix), before);
  ops::rotary(ctx_, r.heads, c.head_dim, r.positions, r.table, true);
  expect_close(to_vector(r.matrix), {before.begin(), before.end()}, 2 * tolerance(), 3.0);
}

TEST_P(RotaryTest, ResultsDoNotDependOnTheNumberOfThreads) {
  const Case c{333, 34, 5, 1, 2};
  const Rotation one(ctx_, c, dtype()), three(ctx_, c, dtype());
  ops::rotary(ctx_, one.heads, c.head_dim, one.positions, one.table, false);
  ops::rotary(threads_, three.heads, c.head_dim, three.positions, three.table, false);
  EXPECT_TRUE(same_bits(one.matrix, three.matrix));
}

TEST_P(RotaryTest, RefusesWhatDoesNotFit) {
  const Rotation r(ctx_, {3, 4, 2, 0, 0}, dtype());
  const auto rotate = [&](const Columns& heads, int64_t head_dim, const Tensor& positions,
                          const Tensor& table) {
    ops::rotary(ctx_, heads, head_dim, positions, table, false);
  };
  EXPECT_NO_THROW(rotate(r.heads, 4, r.positions, r.table));
  EXPECT_THROW(rotate(r.heads, 3, r.positions, r.table), InternalError);
  EXPECT_THROW(rotate(r.heads, 2, r.positions, r.table), InternalError) << "more than a head has";
  EXPECT_THROW(rotate(r.heads, 4, r.positions, full(ctx_, {100, 3}, DType::f32, 1.0f)), InternalError);
  EXPECT_THROW(rotate(r.heads, 4, r.positions, full(ctx_, {100, 0}, DType::f32, 1.0f)), InternalError);
  EXPECT_THROW(rotate({r.matrix, 4, 8}, 4, r.positions, r.table), InternalError);
  EXPECT_THROW(rotate(r.heads, 4, make_indices(ctx_, {0, 1}), r.table), InternalError);
}

TEST_P(RotaryTest, RefusesPositionsOutsideTheTable) {
  const Rotation r(ctx_, {3, 4, 2, 0, 0}, dtype());
  for (const int32_t wrong : {100, -1}) {
    EXPECT_THROW(ops::rotary(ctx_, r.heads, 4, make_indices(ctx_, {0, wrong, 2}), r.table, false),
                 InternalError);
  }
}

}  // namespace
}  // namespace trireme::test

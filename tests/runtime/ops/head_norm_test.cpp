#include "runtime/ops/head_norm.h"

#include <cmath>

#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

using HeadNormTest = OpTest;
TRIREME_FOR_COMPUTE_TYPES(HeadNormTest);

constexpr double kEps = 1e-5;
using Doubles = std::vector<double>;

struct Case {
  int64_t rows, heads, dim;
};
constexpr Case kCases[] = {{0, 2, 8},   {1, 1, 1},   {3, 2, 5},  {70, 3, 33},
                           {33, 5, 64}, {9, 4, 128}, {4, 2, 300}};

/// Each head in doubles, one after the other; gains repeat.
struct Reference {
  Doubles rstd, y, dx, dgain;

  Reference(const std::vector<float>& x, const std::vector<float>& dy, const std::vector<float>& gain)
      : dgain(gain.size(), 2.0) {
    const size_t dim = gain.size();
    for (size_t begin = 0; begin < x.size(); begin += dim) {
      double squares = 0, mean = 0;
      for (size_t i = 0; i < dim; ++i) squares += double{x[begin + i]} * x[begin + i];
      const double scale = 1 / std::sqrt(squares / static_cast<double>(dim) + kEps);
      rstd.push_back(scale);
      for (size_t i = 0; i < dim; ++i) {
        const double h = x[begin + i] * scale;
        y.push_back(h * gain[i]);
        mean += dy[begin + i] * gain[i] * h / static_cast<double>(dim);
        dgain[i] += dy[begin + i] * h;
      }
      for (size_t i = 0; i < dim; ++i)
        dx.push_back(scale * (dy[begin + i] * gain[i] - x[begin + i] * scale * mean));
    }
  }
};

/// Columns of matrices that are NaN beside them.
class Inputs {
 public:
  Inputs(Context& ctx, const Case& c, DType dtype)
      : x(columns(ctx, c, dtype, 1)),
        dy(columns(ctx, c, dtype, 2)),
        y(columns(ctx, c, dtype, 3)),
        gain(random_tensor(ctx, {c.dim}, DType::f32, 4)),
        dgain(full(ctx, {c.dim}, DType::f32, 2.0f)),
        rstd(Tensor::empty(ctx, {c.rows, c.heads}, DType::f32)) {}

  const ops::Columns x, dy, y;
  const Tensor gain, dgain, rstd;

 private:
  static ops::Columns columns(Context& ctx, const Case& c, DType dtype, uint64_t seed) {
    return widened(ctx, random_tensor(ctx, {c.rows, c.heads * c.dim}, dtype, seed, 2.0f),
                   c.dim % 8 == 0 ? 8 : 3, 8);
  }
};

TEST_P(HeadNormTest, EveryHeadMatchesDoubles) {
  for (const Case& c : kCases) {
    const Inputs in(ctx_, c, dtype());
    const Reference expected(to_vector(in.x), to_vector(in.dy), to_vector(in.gain));
    ops::rms_norm_heads(ctx_, in.x, in.gain, kEps, in.y, in.rstd);
    expect_close(to_vector(in.y), expected.y, tolerance());
    expect_close(to_vector(in.rstd), expected.rstd, 4e-6);
    ops::rms_norm_heads(ctx_, in.x, in.gain, kEps, in.x, in.rstd);
    EXPECT_EQ(to_vector(in.x), to_vector(in.y)) << "in place";
  }
}

TEST_P(HeadNormTest, GradientsMatchDoublesAndMayReplaceTheirInput) {
  for (const Case& c : kCases) {
    const Inputs in(ctx_, c, dtype());
    const Reference expected(to_vector(in.x), to_vector(in.dy), to_vector(in.gain));
    ops::rms_norm_heads(ctx_, in.x, in.gain, kEps, in.y, in.rstd);
    ops::rms_norm_heads_backward(ctx_, in.dy, in.x, in.gain, in.rstd, in.y, in.dgain);
    expect_close(to_vector(in.y), expected.dx, tolerance());
    expect_close(to_vector(in.dgain), expected.dgain, 1e-5, 3.0);
    ops::rms_norm_heads_backward(ctx_, in.dy, in.x, in.gain, in.rstd, in.dy, in.dgain);
    EXPECT_EQ(to_vector(in.dy), to_vector(in.y)) << "in place";
  }
}

TEST_P(HeadNormTest, RefusesWhatDoesNotFit) {
  const Inputs in(ctx_, {3, 2, 5}, dtype());
  const Tensor other = full(ctx_, {4}, DType::f32, 1.0f), few = Tensor::empty(ctx_, {3, 1}, DType::f32);
  EXPECT_THROW(ops::rms_norm_heads(ctx_, in.x, other, kEps, in.y, in.rstd), InternalError);
  EXPECT_THROW(ops::rms_norm_heads(ctx_, in.x, in.gain, kEps, in.y, few), InternalError);
  EXPECT_THROW(ops::rms_norm_heads(ctx_, in.x, in.gain, kEps, {in.y.matrix, 3, 5}, in.rstd), InternalError);
  EXPECT_THROW(ops::rms_norm_heads_backward(ctx_, in.dy, in.x, in.gain, in.rstd, in.y, other), InternalError);
}

}  // namespace
}  // namespace trireme::test

#include "runtime/ops/norm.h"

#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

using NormTest = OpTest;
TRIREME_FOR_COMPUTE_TYPES(NormTest);

constexpr double kEps = 1e-5;
using Doubles = std::vector<double>;

/// Both norms in doubles over sum[rows, width] and, for given dy and dsum, their gradients.
struct Reference {
  Doubles mean, rstd, y, dx, dgain, dbias;

  Reference(bool centred, int64_t rows, int64_t width, const std::vector<float>& sum,
            const std::vector<float>& gain, const std::vector<float>& bias, const std::vector<float>& dy,
            const std::vector<float>& dsum)
      : y(sum.size()), dx(sum.size()), dgain(gain.size()), dbias(gain.size()) {
    const auto columns = static_cast<size_t>(width);
    const auto count = static_cast<double>(width);
    for (size_t begin = 0; begin < static_cast<size_t>(rows) * columns; begin += columns) {
      double total = 0, squares = 0, mean_d = 0, mean_dh = 0;
      for (size_t i = 0; i < columns; ++i) total += sum[begin + i];
      const double mu = centred ? total / count : 0;
      for (size_t i = 0; i < columns; ++i) squares += (sum[begin + i] - mu) * (sum[begin + i] - mu);
      const double scale = 1 / std::sqrt(squares / count + kEps);
      mean.push_back(mu);
      rstd.push_back(scale);
      for (size_t i = 0; i < columns; ++i) {
        const double h = (sum[begin + i] - mu) * scale, d = static_cast<double>(dy[begin + i]);
        y[begin + i] = h * gain[i] + bias[i];
        mean_d += centred ? d * gain[i] / count : 0;
        mean_dh += d * gain[i] * h / count;
        dgain[i] += d * h;
        dbias[i] += d;
      }
      for (size_t i = 0; i < columns; ++i) {
        const double h = (sum[begin + i] - mu) * scale, d = static_cast<double>(dy[begin + i]) * gain[i];
        dx[begin + i] = scale * (d - mean_d - h * mean_dh) + dsum[begin + i];
      }
    }
  }
};

struct Case {
  int64_t rows, width;
};
constexpr Case kCases[] = {{0, 8}, {1, 1}, {1, 7}, {3, 33}, {70, 128}, {130, 769}};

class Inputs {
 public:
  Inputs(Context& ctx, const Case& c, DType dtype)
      : x(random_tensor(ctx, {c.rows, c.width}, dtype, 1)),
        residual(random_tensor(ctx, {c.rows, c.width}, dtype, 2, 3.0f)),
        dy(random_tensor(ctx, {c.rows, c.width}, dtype, 3)),
        dsum(random_tensor(ctx, {c.rows, c.width}, dtype, 4)),
        gain(random_tensor(ctx, {c.width}, DType::f32, 5)),
        bias(random_tensor(ctx, {c.width}, DType::f32, 6)),
        sum(Tensor::empty(ctx, {c.rows, c.width}, dtype)),
        y(Tensor::empty(ctx, {c.rows, c.width}, dtype)),
        mean(Tensor::empty(ctx, {c.rows}, DType::f32)),
        rstd(Tensor::empty(ctx, {c.rows}, DType::f32)),
        dgain(full(ctx, {c.width}, DType::f32, 2.0f)),
        dbias(full(ctx, {c.width}, DType::f32, -1.0f)) {}

  const Tensor x, residual, dy, dsum, gain, bias, sum, y, mean, rstd, dgain, dbias;
};

TEST_P(NormTest, LayerNormMatchesDoubles) {
  for (const Case& c : kCases) {
    const Inputs in(ctx_, c, dtype());
    ops::layer_norm(ctx_, in.x, in.residual, in.gain, in.bias, kEps, in.sum, in.y, in.mean, in.rstd);
    const auto x = to_vector(in.x), residual = to_vector(in.residual);
    Doubles sum;
    for (size_t i = 0; i < x.size(); ++i) sum.push_back(double{x[i]} + residual[i]);
    expect_close(to_vector(in.sum), sum, tolerance());
    const Reference expected(true, c.rows, c.width, to_vector(in.sum), to_vector(in.gain), to_vector(in.bias),
                             to_vector(in.dy), to_vector(in.dsum));
    expect_close(to_vector(in.mean), expected.mean, 4e-6);
    expect_close(to_vector(in.rstd), expected.rstd, 4e-6);
    expect_close(to_vector(in.y), expected.y, tolerance());
  }
}

TEST_P(NormTest, LayerNormGradientMatchesDoublesAndMayReplaceItsInputs) {
  for (const Case& c : kCases) {
    const Inputs in(ctx_, c, dtype());
    const Tensor none;
    ops::layer_norm(ctx_, in.x, none, in.gain, none, kEps, none, in.y, in.mean, in.rstd);
    const Reference expected(true, c.rows, c.width, to_vector(in.x), to_vector(in.gain),
                             std::vector<float>(static_cast<size_t>(c.width)), to_vector(in.dy),
                             to_vector(in.dsum));
    expect_close(to_vector(in.y), expected.y, tolerance());
    const Tensor dy = clone(ctx_, in.dy);
    ops::layer_norm_backward(ctx_, dy, in.dsum, in.x, in.gain, in.mean, in.rstd, dy, in.dgain, in.dbias);
    expect_close(to_vector(dy), expected.dx, tolerance(), 2.0);
    for (const auto& [tensor, initial, reference] :
         {std::tuple{in.dgain, 2.0, expected.dgain}, {in.dbias, -1.0, expected.dbias}}) {
      Doubles total = reference;
      for (double& value : total) value += initial;
      expect_close(to_vector(tensor), total, 1e-5, 5.0);
    }
    ops::layer_norm_backward(ctx_, in.dy, in.dsum, in.x, in.gain, in.mean, in.rstd, in.dsum, in.dgain, none);
    EXPECT_TRUE(same_bits(dy, in.dsum));
  }
}

TEST_P(NormTest, RmsNormAndItsGradientMatchDoubles) {
  for (const Case& c : kCases) {
    const Inputs in(ctx_, c, dtype());
    const Tensor none;
    const std::vector<float> zeros(static_cast<size_t>(c.width));
    ops::rms_norm(ctx_, in.x, in.residual, in.gain, kEps, in.sum, in.y, in.rstd);
    const Reference expected(false, c.rows, c.width, to_vector(in.sum), to_vector(in.gain), zeros,
                             to_vector(in.dy), std::vector<float>(to_vector(in.sum).size()));
    expect_close(to_vector(in.rstd), expected.rstd, 4e-6);
    expect_close(to_vector(in.y), expected.y, tolerance());
    const Tensor dx = Tensor::empty(ctx_, in.x.shape(), dtype());
    ops::rms_norm_backward(ctx_, in.dy, none, in.sum, in.gain, in.rstd, dx, in.dgain);
    expect_close(to_vector(dx), expected.dx, tolerance());
    Doubles dgain = expected.dgain;
    for (double& value : dgain) value += 2.0;
    expect_close(to_vector(in.dgain), dgain, 1e-5, 5.0);
  }
}

TEST_P(NormTest, ResidualIsAddedBeforeTheNorm) {
  const Inputs in(ctx_, {5, 50}, dtype());
  const Tensor y = Tensor::empty(ctx_, in.x.shape(), dtype());
  ops::rms_norm(ctx_, in.x, in.residual, in.gain, kEps, in.sum, in.y, in.rstd);
  ops::rms_norm(ctx_, in.sum, {}, in.gain, kEps, {}, y, in.rstd);
  EXPECT_TRUE(same_bits(in.y, y));
}

TEST_P(NormTest, ResultsDoNotDependOnTheNumberOfThreads) {
  const Inputs one(ctx_, {333, 257}, dtype()), three(ctx_, {333, 257}, dtype());
  const Tensor dx_one = Tensor::empty(ctx_, one.x.shape(), dtype()), dx_three = clone(ctx_, dx_one);
  const auto run = [](Context& ctx, const Inputs& in, const Tensor& dx) {
    ops::layer_norm(ctx, in.x, in.residual, in.gain, in.bias, kEps, in.sum, in.y, in.mean, in.rstd);
    ops::layer_norm_backward(ctx, in.dy, in.dsum, in.sum, in.gain, in.mean, in.rstd, dx, in.dgain, in.dbias);
  };
  run(ctx_, one, dx_one);
  run(threads_, three, dx_three);
  EXPECT_TRUE(same_bits(dx_one, dx_three));
  for (const auto member :
       {&Inputs::sum, &Inputs::y, &Inputs::mean, &Inputs::rstd, &Inputs::dgain, &Inputs::dbias}) {
    EXPECT_TRUE(same_bits(one.*member, three.*member));
  }
}

TEST_P(NormTest, LargeOffsetsDoNotSpoilTheVariance) {
  const Tensor x = make_tensor(ctx_, {1, 4}, dtype(), {1000.0f, 1001.0f, 1002.0f, 1003.0f});
  const Inputs in(ctx_, {1, 4}, dtype());
  ops::layer_norm(ctx_, x, {}, in.gain, {}, 0.0f, {}, in.y, in.mean, in.rstd);
  double mean = 0, variance = 0;
  for (const float value : to_vector(x)) mean += value / 4.0;
  for (const float value : to_vector(x)) variance += (value - mean) * (value - mean) / 4.0;
  EXPECT_NEAR(to_vector(in.rstd)[0], 1 / std::sqrt(variance), 1e-5);
}

TEST_P(NormTest, RefusesWhatDoesNotFit) {
  const Inputs in(ctx_, {4, 6}, dtype()), other(ctx_, {4, 5}, dtype());
  const Tensor none;
  EXPECT_THROW(ops::layer_norm(ctx_, in.x, in.residual, in.gain, none, kEps, none, in.y, in.mean, in.rstd),
               InternalError);
  EXPECT_THROW(ops::layer_norm(ctx_, in.x, none, other.gain, none, kEps, none, in.y, in.mean, in.rstd),
               InternalError);
  EXPECT_THROW(ops::layer_norm(ctx_, in.x, none, in.gain, other.bias, kEps, none, in.y, in.mean, in.rstd),
               InternalError);
  EXPECT_THROW(ops::layer_norm(ctx_, in.x, none, in.gain, none, kEps, none, other.y, in.mean, in.rstd),
               InternalError);
  EXPECT_THROW(ops::layer_norm(ctx_, in.x, none, in.gain, none, kEps, none, in.y, none, in.rstd),
               InternalError);
  EXPECT_THROW(ops::layer_norm(ctx_, in.mean, none, in.gain, none, kEps, none, in.y, in.mean, in.rstd),
               InternalError);
  EXPECT_THROW(ops::rms_norm(ctx_, in.x, none, in.gain, kEps, none, in.y, in.gain), InternalError);
  EXPECT_THROW(ops::rms_norm_backward(ctx_, in.dy, other.dsum, in.sum, in.gain, in.rstd, in.y, in.dgain),
               InternalError);
  EXPECT_THROW(
      ops::layer_norm_backward(ctx_, in.dy, none, in.sum, in.gain, in.mean, in.rstd, in.y, in.dgain, in.mean),
      InternalError);
}

}  // namespace
}  // namespace trireme::test

#include "launch/verify/muon_check.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "launch/config/optimizer_choice.h"

namespace trireme::launch {

namespace {

using Doubles = std::vector<double>;

/// A row-major matrix.
struct Matrix {
  size_t rows, columns;
  Doubles values;

  Matrix(size_t r, size_t c) : rows(r), columns(c), values(r * c, 0.0) {}
  double* row(size_t r) { return &values[r * columns]; }
  const double* row(size_t r) const { return &values[r * columns]; }
};

Matrix transposed(const Matrix& x) {
  Matrix y(x.columns, x.rows);
  for (size_t i = 0; i < x.rows; ++i) {
    for (size_t j = 0; j < x.columns; ++j) y.row(j)[i] = x.row(i)[j];
  }
  return y;
}

/// y += factor * a b
void add_product(double factor, const Matrix& a, const Matrix& b, Matrix& y) {
  for (size_t i = 0; i < a.rows; ++i) {
    for (size_t k = 0; k < a.columns; ++k) {
      const double scale = factor * a.row(i)[k];
      const double* from = b.row(k);
      double* to = y.row(i);
      for (size_t j = 0; j < b.columns; ++j) to[j] += scale * from[j];
    }
  }
}

double norm_of_all(const Doubles& values) {
  double squares = 0;
  for (const double v : values) squares += v * v;
  return std::sqrt(squares);
}

Matrix orthogonal(Matrix x, int num_steps) {
  if (x.rows > x.columns) return transposed(orthogonal(transposed(x), num_steps));
  const double norm = std::max(norm_of_all(x.values), 1e-7);
  for (double& value : x.values) value /= norm;
  for (int step = 0; step < num_steps; ++step) {
    Matrix gram(x.rows, x.rows), polynomial(x.rows, x.rows), next = x;
    add_product(1, x, transposed(x), gram);
    for (size_t i = 0; i < gram.values.size(); ++i) polynomial.values[i] = -4.7750 * gram.values[i];
    add_product(2.0315, gram, gram, polynomial);
    for (double& value : next.values) value *= 3.4445;
    add_product(1, polynomial, x, next);
    x = std::move(next);
  }
  return x;
}

/// A sum over elements that counts as rounding where these have independent errors.
double likely_sum(double squares) { return 6 * std::sqrt(squares); }

std::optional<std::string> error_of_whole(const MuonExpectation& e, int64_t rows, int64_t columns,
                                          const std::vector<float>& before, const std::vector<float>& after,
                                          double rounding) {
  double along = 0, wanted = 0, squares = 0, noise_along = 0, noise = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    const double kept = e.decay * static_cast<double>(before[i]), d = e.direction[i];
    const double o = (kept - static_cast<double>(after[i])) / e.step;
    const double error = (rounding + 1e-6) * std::abs(static_cast<double>(before[i])) / e.step;
    along += o * d;
    wanted += (kept - e.weights[i]) / e.step * d;
    squares += o * o;
    noise_along += error * error * d * d;
    noise += error * error;
  }
  if (!(std::abs(along - wanted) <= 0.1 * wanted + likely_sum(noise_along))) {
    return fmt::format("goes {:.3g} along the momentum, but Muon's goes {:.3g}", along, wanted);
  }
  const double most = 1.25 * std::sqrt(static_cast<double>(std::min(rows, columns))) + std::sqrt(noise) * 2;
  if (!(std::sqrt(squares) <= most)) {
    return fmt::format("has a norm of {:.3g}, where that of an orthogonal matrix is at most {:.3g}",
                       std::sqrt(squares), most);
  }
  return std::nullopt;
}

}  // namespace

MuonExpectation muon_update(const RunConfig& config, int64_t rows, int64_t columns,
                            const ParameterSettings& settings, const std::vector<float>& before,
                            const std::vector<float>& gradient, double factor, std::vector<float>& momentum) {
  const OptimizerConfig& o = config.optimizer;
  const auto beta = static_cast<double>(static_cast<float>(o.muon_momentum));
  Matrix direction(static_cast<size_t>(rows), static_cast<size_t>(columns));
  for (size_t i = 0; i < before.size(); ++i) {
    const double g = static_cast<double>(gradient[i]) * factor;
    const double m = beta * static_cast<double>(momentum[i]) + (1 - beta) * g;
    momentum[i] = static_cast<float>(m);
    direction.values[i] = o.muon_nesterov ? beta * m + (1 - beta) * g : m;
  }
  const double lr = muon_lr(o) * settings.lr_factor;
  MuonExpectation e;
  e.step = lr * 0.2 * std::sqrt(static_cast<double>(std::max(rows, columns)));
  e.decay = 1 - lr * (settings.decays ? o.weight_decay : 0);
  const Matrix made = orthogonal(direction, o.muon_ns_steps);
  for (size_t i = 0; i < before.size(); ++i)
    e.weights.push_back(e.decay * static_cast<double>(before[i]) - e.step * made.values[i]);
  e.direction = std::move(direction.values);
  return e;
}

std::optional<std::string> muon_error(const RunConfig& config, const MuonExpectation& expected, int64_t rows,
                                      int64_t columns, const std::vector<float>& before,
                                      const std::vector<float>& after, double rounding) {
  if (muon_precision(config) != DType::f32)
    return error_of_whole(expected, rows, columns, before, after, rounding);
  const double size = expected.step / std::sqrt(static_cast<double>(std::max(rows, columns)));
  for (size_t i = 0; i < before.size(); ++i) {
    const double off = std::abs(static_cast<double>(after[i]) - expected.weights[i]);
    const double weight = std::abs(static_cast<double>(before[i]));
    if (off <= 0.01 * size + 4e-7 * weight + rounding * std::abs(expected.weights[i])) continue;
    return fmt::format("element {}, differs by {:.1e} from Muon's, which is {:.1e} from {:.6g}", i, off,
                       expected.weights[i] - static_cast<double>(before[i]), before[i]);
  }
  return std::nullopt;
}

}  // namespace trireme::launch

// Matrices, statistics of drawn inputs and plain arithmetic for tests of quantization.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "models/compress/quantize_matrix.h"
#include "runtime/base/philox.h"

namespace trireme::test {

inline std::vector<float> drawn_weights(int64_t n, uint64_t seed, float scale = 0.05f) {
  std::vector<float> values;
  for (int64_t i = 0; i < n; ++i)
    values.push_back(scale * philox_normal4(seed, static_cast<uint64_t>(i), 0)[0]);
  return values;
}

inline InputStatistics statistics_of(const std::vector<float>& x, int64_t inputs) {
  InputStatistics s;
  s.inputs = inputs;
  s.tokens = inputs == 0 ? 0 : std::ssize(x) / inputs;
  const auto n = static_cast<size_t>(inputs);
  s.hessian.resize(n * n);
  s.magnitudes.resize(n);
  s.largest.resize(n);
  for (size_t t = 0; t < static_cast<size_t>(s.tokens); ++t) {
    const float* row = x.data() + t * n;
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j)
        s.hessian[i * n + j] += static_cast<double>(row[i]) * static_cast<double>(row[j]);
      s.magnitudes[i] += static_cast<double>(std::fabs(row[i]));
      s.largest[i] = std::max(s.largest[i], std::fabs(row[i]));
    }
  }
  return s;
}

/// Inputs of few directions and noise, of very different size each.
inline std::vector<float> correlated_inputs(int64_t tokens, int64_t inputs, uint64_t seed) {
  constexpr int64_t kDirections = 6;
  const std::vector<float> mix = drawn_weights(kDirections * inputs, seed, 1.0f);
  const std::vector<float> size = drawn_weights(inputs, seed + 1, 1.0f);
  const std::vector<float> noise = drawn_weights(tokens * inputs, seed + 2, 0.3f);
  const std::vector<float> parts = drawn_weights(tokens * kDirections, seed + 3, 1.0f);
  std::vector<float> x(noise);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < inputs; ++i) {
      float& value = x[static_cast<size_t>(t * inputs + i)];
      for (int64_t k = 0; k < kDirections; ++k) {
        value += parts[static_cast<size_t>(t * kDirections + k)] * mix[static_cast<size_t>(k * inputs + i)];
      }
      value *= std::exp(size[static_cast<size_t>(i)]);
    }
  }
  return x;
}

/// What the codes stand for, [outputs, inputs].
inline std::vector<float> values_of(const ops::CodedMatrix& m) {
  std::vector<float> values(m.codes.size());
  for (int64_t o = 0; o < m.outputs; ++o) {
    ops::decode_row(
        m, o, std::span(values).subspan(static_cast<size_t>(o * m.inputs), static_cast<size_t>(m.inputs)));
  }
  return values;
}

/// tr((w - v) H (w - v)^T).
inline double error_of(const std::vector<float>& w, const std::vector<float>& v, const InputStatistics& s) {
  const auto n = static_cast<size_t>(s.inputs);
  double sum = 0;
  for (size_t row = 0; row * n < w.size(); ++row) {
    std::vector<double> d(n);
    for (size_t i = 0; i < n; ++i) {
      d[i] = static_cast<double>(w[row * n + i]) - static_cast<double>(v[row * n + i]);
    }
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) sum += d[i] * s.hessian[i * n + j] * d[j];
    }
  }
  return sum;
}

inline std::vector<double> inverse_of(std::vector<double> a, size_t n) {
  std::vector<double> b(n * n);
  for (size_t i = 0; i < n; ++i) b[i * n + i] = 1;
  for (size_t i = 0; i < n; ++i) {
    const double pivot = a[i * n + i];
    for (size_t j = 0; j < n; ++j) a[i * n + j] /= pivot, b[i * n + j] /= pivot;
    for (size_t k = 0; k < n; ++k) {
      const double factor = a[k * n + i];
      if (k == i || factor == 0) continue;
      for (size_t j = 0; j < n; ++j)
        a[k * n + j] -= factor * a[i * n + j], b[k * n + j] -= factor * b[i * n + j];
    }
  }
  return b;
}

}  // namespace trireme::test

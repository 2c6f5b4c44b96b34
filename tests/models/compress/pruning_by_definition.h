// Pruning as papers define it, with sorts and inverses: what tests compare with.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "models/compress/prune_matrix.h"
#include "tests/models/compress/matrices.h"

namespace trireme::test {

inline constexpr double kKnown = -1;  // importance of what is zero already

/// The first `count` of these places by importance.
inline std::vector<size_t> first_of(const std::vector<size_t>& places, int64_t count,
                                    const std::function<double(size_t)>& importance) {
  std::vector<size_t> order = places;
  std::ranges::stable_sort(order, {}, importance);
  order.resize(static_cast<size_t>(count));
  return order;
}

inline std::vector<size_t> range_of(size_t begin, size_t count) {
  std::vector<size_t> places(count);
  std::iota(places.begin(), places.end(), begin);
  return places;
}

inline int64_t part_of(double part, size_t number) {
  return static_cast<int64_t>(part * static_cast<double>(number));
}

/// Magnitude and Wanda.
inline std::vector<float> by_importance(const std::vector<float>& w, const InputStatistics& s,
                                        const PruneOptions& options) {
  const auto n = static_cast<size_t>(s.inputs);
  const auto importance = [&](size_t at) {
    if (w[at] == 0) return kKnown;
    const double norm = options.method == PruneMethod::wanda ? std::sqrt(s.hessian[at % n * (n + 1)]) : 1.0;
    return std::abs(static_cast<double>(w[at])) * norm;
  };
  std::vector<float> values = w;
  const auto drop = [&](const std::vector<size_t>& places, int64_t count) {
    for (const size_t at : first_of(places, count, importance)) values[at] = 0;
  };
  const bool whole = options.scope == PruneScope::matrix ||
                     (options.scope == PruneScope::automatic && options.method == PruneMethod::magnitude);
  if (options.of == 0 && whole) {
    drop(range_of(0, w.size()), part_of(options.sparsity, w.size()));
    return values;
  }
  for (size_t row = 0; row < w.size(); row += n) {
    const size_t size = options.of == 0 ? n : static_cast<size_t>(options.of);
    for (size_t begin = 0; begin + size <= n; begin += size)
      drop(range_of(row + begin, size), options.of == 0 ? part_of(options.sparsity, n) : options.zeros);
  }
  return values;
}

/// SparseGPT with the inverse of the Hessian and its Cholesky factor U, and all errors given on at once.
class SparseGpt {
 public:
  SparseGpt(const std::vector<float>& w, const InputStatistics& s, const PruneOptions& options)
      : n_(static_cast<size_t>(s.inputs)), rows_(w.size() / n_), options_(options), w_(w.begin(), w.end()) {
    std::vector<double> h = s.hessian;
    double sum = 0;
    size_t live = 0;
    for (size_t i = 0; i < n_; ++i) {
      sum += h[i * n_ + i];
      live += h[i * n_ + i] != 0 ? 1 : 0;
    }
    for (size_t i = 0; i < n_; ++i) {
      double& x = h[i * n_ + i];
      for (size_t row = 0; x == 0 && row < rows_; ++row) w_[row * n_ + i] = 0;
      x = x == 0 ? 1 : x + options.damping * sum / static_cast<double>(live);
    }
    was_zero_.resize(w_.size());
    for (size_t i = 0; i < w_.size(); ++i) was_zero_[i] = w_[i] == 0;
    u_ = inverse_of(h, n_);
    for (size_t j = 0; j < n_; ++j) {  // rows of U: U^T U is the inverse
      for (size_t k = 0; k < j; ++k) {
        for (size_t i = j; i < n_; ++i) u_[j * n_ + i] -= u_[k * n_ + j] * u_[k * n_ + i];
      }
      const double root = std::sqrt(u_[j * n_ + j]);
      for (size_t i = 0; i < n_; ++i) u_[j * n_ + i] = i < j ? 0 : u_[j * n_ + i] / root;
    }
  }

  std::vector<float> run() {
    const auto block = static_cast<size_t>(options_.block), of = static_cast<size_t>(options_.of);
    std::vector<bool> mask = was_zero_;
    for (size_t i = 0; i < n_; ++i) {
      if (of == 0 && i % block == 0) {
        const size_t columns = std::min(block, n_ - i);
        choose(i, columns, 0, rows_, part_of(options_.sparsity, rows_ * columns), mask);
      }
      for (size_t row = 0; of > 0 && i % of == 0 && i + of <= n_ && row < rows_; ++row)
        choose(i, of, row, row + 1, options_.zeros, mask);
      for (size_t row = 0; row < rows_; ++row) {
        double* w = w_.data() + row * n_;
        const double kept = mask[row * n_ + i] ? 0 : w[i], error = (w[i] - kept) / u_[i * n_ + i];
        for (size_t j = i; j < n_; ++j) w[j] -= error * u_[i * n_ + j];
        w[i] = kept;
      }
    }
    return {w_.begin(), w_.end()};
  }

 private:
  void choose(size_t column, size_t columns, size_t begin, size_t end, int64_t count,
              std::vector<bool>& mask) const {
    std::vector<size_t> places;
    for (size_t row = begin; row < end; ++row)
      for (size_t j = column; j < column + columns; ++j) places.push_back(row * n_ + j);
    for (const size_t at : first_of(places, count, [&](size_t at) {
           return was_zero_[at] ? kKnown : std::pow(w_[at] / u_[at % n_ * (n_ + 1)], 2);
         }))
      mask[at] = true;
  }

  size_t n_, rows_;
  PruneOptions options_;
  std::vector<double> w_, u_;
  std::vector<bool> was_zero_;
};

}  // namespace trireme::test

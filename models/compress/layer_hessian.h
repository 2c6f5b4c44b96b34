// LayerHessian: what is known of the inputs of a matrix, and what a method does where that is not enough.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/compress/input_statistics.h"
#include "models/compress/quantize_matrix.h"
#include "runtime/ops/compress/hessian.h"

namespace trireme {

/// With the Hessian in units in which its largest diagonal element is of [1, 2). Refers to the statistics.
class LayerHessian {
 public:
  LayerHessian(const InputStatistics& statistics, int64_t inputs);
  LayerHessian(const LayerHessian&) = delete;
  LayerHessian& operator=(const LayerHessian&) = delete;

  const ops::HessianView& view() const { return view_; }  ///< of all inputs as they are
  bool is_known() const { return !view_.values.empty(); }
  const std::string& trouble() const { return trouble_; }  ///< why nothing is known
  std::span<const int32_t> places() const { return places_; }
  std::span<const uint8_t> dead() const { return dead_; }  ///< of each input, whether it was always zero
  int64_t num_dead() const { return num_dead_; }
  double mean() const { return mean_; }  ///< of the diagonal of inputs that are not dead, in these units
  double diagonal(int64_t input) const;  ///< in these units
  std::vector<int32_t> by_falling_diagonal() const;

  /// With inputs in `order`. Damping (a part of the mean) grows tenfold until the matrix factors, and is
  /// reported; nothing, and a note that ends with `instead`, where it never does.
  std::optional<ops::HessianFactor> factor(Context& ctx, std::span<const int32_t> order, double damping,
                                           std::string_view instead, RoundingReport& report) const;

  /// The sum over rows of d H d^T; where nothing is known of d d^T. fill(row, d) as in sum_of_forms().
  double error(Context& ctx, int64_t rows, const std::function<void(int64_t row, double* d)>& fill) const;

 private:
  ops::HessianView view_;
  std::vector<int32_t> places_;
  std::vector<uint8_t> dead_;
  int64_t num_dead_ = 0;
  double mean_ = 0;
  std::string trouble_;
};

}  // namespace trireme

// The Hessian of a linear layer's squared output error, H = sum of x x^T, as quantizers use it. On the host,
// in fp64, on the context's threads; bits depend on the operands and the machine alone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "runtime/device/context.h"

namespace trireme::ops {

namespace cpu {
class TrianglePanels;
}

/// A symmetric matrix, or the part of one that belongs to some of its inputs.
struct HessianView {
  std::span<const double> values;  ///< [inputs, inputs]
  int64_t inputs = 0;
  std::span<const int32_t> places;  ///< the inputs in question, in the order in which they are met
  double scale = 1;                 ///< what values are multiplied by
};

/// d H d^T of rows d.
class QuadraticForm {
 public:
  QuadraticForm(Context& ctx, const HessianView& hessian);

  int64_t n() const;
  /// errors[r] = d[r] H d[r]^T of rows d[r, n] that lie `stride` >= round_up(n, 8) apart, with zeros beyond
  /// n. On the calling thread.
  void evaluate(int64_t rows, const double* d, int64_t stride, double* errors) const;

 private:
  std::shared_ptr<const cpu::TrianglePanels> form_;  // off the diagonal doubled
};

/// The sum over rows of d H d^T, in order; fill(row, d) writes a row's n numbers, on any thread.
double sum_of_forms(Context& ctx, const QuadraticForm& form, int64_t rows,
                    const std::function<void(int64_t row, double* d)>& fill);

/// R, upper triangular, of H + damping I = R R^T.
class HessianFactor {
 public:
  /// Nothing where a pivot is not above what rounding leaves of zero. Inputs in `dead` (by input, not place;
  /// may be empty) have a one on the diagonal and zeros beside it. `damping` in units of the scaled values.
  static std::optional<HessianFactor> of(Context& ctx, const HessianView& hessian,
                                         std::span<const uint8_t> dead, double damping);

  const cpu::TrianglePanels& panels() const { return *panels_; }

 private:
  std::shared_ptr<const cpu::TrianglePanels> panels_;
};

}  // namespace trireme::ops

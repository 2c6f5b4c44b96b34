#include "models/compress/layer_hessian.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/base/error.h"

namespace trireme {

namespace {

/// Damping beyond this part of the mean diagonal leaves nothing of the Hessian.
constexpr double kMostDamping = 1e3;
constexpr double kLeastDamping = 1e-6;

}  // namespace

LayerHessian::LayerHessian(const InputStatistics& statistics, int64_t inputs) {
  places_.resize(static_cast<size_t>(inputs));
  std::iota(places_.begin(), places_.end(), 0);
  if (statistics.is_empty() || statistics.hessian.empty()) {
    trouble_ = "no calibration token reached it";
    return;
  }
  TRIREME_CHECK(statistics.inputs == inputs && std::ssize(statistics.hessian) == inputs * inputs,
                "statistics of {} inputs, a Hessian of {} numbers, for {} inputs", statistics.inputs,
                statistics.hessian.size(), inputs);
  const std::vector<double>& h = statistics.hessian;
  const auto wrong = std::find_if_not(h.begin(), h.end(), [](double x) { return std::isfinite(x); });
  if (wrong != h.end()) {
    const int64_t at = wrong - h.begin();
    trouble_ = fmt::format("its Hessian has {} at [{}, {}]", *wrong, at / inputs, at % inputs);
    return;
  }
  dead_.resize(static_cast<size_t>(inputs));
  double largest = 0;
  for (int64_t i = 0; i < inputs; ++i) {
    const double x = h[static_cast<size_t>(i * (inputs + 1))];
    largest = std::max(largest, x);
    dead_[static_cast<size_t>(i)] = x == 0 ? 1 : 0;
    num_dead_ += x == 0 ? 1 : 0;
  }
  if (largest == 0) {
    trouble_ = "all its inputs were zero";
    return;
  }
  view_ = {h, inputs, places_, std::ldexp(1.0, -std::ilogb(largest))};
  for (int64_t i = 0; i < inputs; ++i) mean_ += diagonal(i);
  mean_ /= static_cast<double>(inputs - num_dead_);
}

double LayerHessian::diagonal(int64_t input) const {
  return view_.scale * view_.values[static_cast<size_t>(input * (view_.inputs + 1))];
}

std::vector<int32_t> LayerHessian::by_falling_diagonal() const {
  std::vector<int32_t> order = places_;
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return diagonal(a) > diagonal(b); });
  return order;
}

std::optional<ops::HessianFactor> LayerHessian::factor(Context& ctx, std::span<const int32_t> order,
                                                       double damping, std::string_view instead,
                                                       RoundingReport& report) const {
  ops::HessianView hessian = view_;
  hessian.places = order;
  for (double tried = damping;; tried = std::max(10 * tried, kLeastDamping)) {
    auto factor = ops::HessianFactor::of(ctx, hessian, dead_, tried * mean_);
    if (factor) {
      report.damping = tried;
      if (tried != damping) {
        report.note =
            fmt::format("its Hessian factors with a damping of {:.3g}, not of {:.3g}", tried, damping);
      }
      return factor;
    }
    if (tried >= kMostDamping) break;
  }
  report.note = fmt::format("its Hessian factors with no damping from {:.3g} to {:.3g}: {}", damping,
                            std::max(damping, kMostDamping), instead);
  return std::nullopt;
}

double LayerHessian::error(Context& ctx, int64_t rows,
                           const std::function<void(int64_t row, double* d)>& fill) const {
  if (is_known()) return ops::sum_of_forms(ctx, ops::QuadraticForm(ctx, view_), rows, fill);
  std::vector<double> d(places_.size());
  double sum = 0;
  for (int64_t row = 0; row < rows; ++row) {
    fill(row, d.data());
    sum = std::inner_product(d.begin(), d.end(), d.begin(), sum);
  }
  return sum;
}

}  // namespace trireme

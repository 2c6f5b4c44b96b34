#include "models/compress/quantize_matrix.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "runtime/ops/compress/feedback_rounding.h"

namespace trireme {

namespace {

/// Damping beyond this part of the mean diagonal leaves nothing of the Hessian.
constexpr double kMostDamping = 1e3;
constexpr double kLeastDamping = 1e-6;

/// What is known of the inputs, with the Hessian in units in which its largest diagonal element is of [1, 2).
struct Inputs {
  ops::HessianView hessian;  // of all inputs as they are; no values: nothing is known
  std::vector<int32_t> places;
  std::vector<uint8_t> dead;
  int64_t num_dead = 0;
  double mean = 0;  // of the diagonal of inputs that are not dead, scaled
  std::string trouble;

  bool known() const { return !hessian.values.empty(); }
};

Inputs look_at(const InputStatistics& statistics, int64_t inputs) {
  Inputs result;
  result.places.resize(static_cast<size_t>(inputs));
  std::iota(result.places.begin(), result.places.end(), 0);
  if (statistics.is_empty() || statistics.hessian.empty()) {
    result.trouble = "no calibration token reached it";
    return result;
  }
  TRIREME_CHECK(statistics.inputs == inputs && std::ssize(statistics.hessian) == inputs * inputs,
                "statistics of {} inputs, a Hessian of {} numbers, for {} inputs", statistics.inputs,
                statistics.hessian.size(), inputs);
  const std::vector<double>& h = statistics.hessian;
  const auto wrong = std::find_if_not(h.begin(), h.end(), [](double x) { return std::isfinite(x); });
  if (wrong != h.end()) {
    const int64_t at = wrong - h.begin();
    result.trouble = fmt::format("its Hessian has {} at [{}, {}]", *wrong, at / inputs, at % inputs);
    return result;
  }
  result.dead.resize(static_cast<size_t>(inputs));
  double largest = 0;
  for (int64_t i = 0; i < inputs; ++i) {
    const double x = h[static_cast<size_t>(i * (inputs + 1))];
    largest = std::max(largest, x);
    result.dead[static_cast<size_t>(i)] = x == 0 ? 1 : 0;
    result.num_dead += x == 0 ? 1 : 0;
  }
  if (largest == 0) {
    result.trouble = "all its inputs were zero";
    return result;
  }
  result.hessian = {h, inputs, result.places, std::ldexp(1.0, -std::ilogb(largest))};
  for (int64_t i = 0; i < inputs; ++i) {
    result.mean += result.hessian.scale * h[static_cast<size_t>(i * (inputs + 1))];
  }
  result.mean /= static_cast<double>(inputs - result.num_dead);
  return result;
}

std::vector<int32_t> by_falling_diagonal(const Inputs& in) {
  std::vector<int32_t> order = in.places;
  const auto diagonal = [&](int32_t i) {
    return in.hessian.values[static_cast<size_t>(i) * static_cast<size_t>(in.hessian.inputs + 1)];
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return diagonal(a) > diagonal(b); });
  return order;
}

ops::CodedMatrix empty_matrix(const ops::PackedSpec& spec, int64_t outputs, int64_t inputs) {
  ops::CodedMatrix m;
  m.spec = spec;
  m.outputs = outputs;
  m.inputs = inputs;
  const auto groups = static_cast<size_t>(outputs * ops::groups_of(spec, inputs));
  m.codes.resize(static_cast<size_t>(outputs * inputs));
  m.scales.resize(groups);
  if (!spec.symmetric) m.zeros.resize(groups);
  return m;
}

void expect_finite(std::span<const float> w, int64_t inputs, const ops::PackedSpec& spec) {
  const auto wrong = std::find_if_not(w.begin(), w.end(), [](float x) { return std::isfinite(x); });
  if (wrong == w.end()) return;
  const int64_t at = wrong - w.begin();
  ops::refuse_value(spec, at / inputs, at % inputs, *wrong);
}

std::vector<ops::QuadraticForm> forms_of(Context& ctx, const Inputs& in, const ops::GroupsOfInputs& groups) {
  std::vector<ops::QuadraticForm> forms;
  for (int64_t g = 0; g < groups.count(); ++g) {
    ops::HessianView part = in.hessian;
    part.places = groups.inputs_of(g);
    forms.emplace_back(ctx, part);
  }
  return forms;
}

/// A matrix on its way to codes.
class MatrixRounding {
 public:
  MatrixRounding(Context& ctx, std::span<const float> w, int64_t outputs, const Inputs& in,
                 const RoundingOptions& options)
      : ctx_(ctx),
        w_(w),
        in_(in),
        options_(options),
        result_{empty_matrix(options.spec, outputs, std::ssize(in.places)), {}} {
    result_.report.dead = in.num_dead;
    groups_ = {in_.places, options_.spec.group == 0 ? std::ssize(in_.places) : options_.spec.group};
  }

  RoundedMatrix run() {
    if (options_.method != RoundingMethod::gptq || !in_.known() || !gptq()) nearest();
    if (!in_.trouble.empty()) explain_trouble();
    return std::move(result_);
  }

 private:
  void explain_trouble() {
    if (options_.method == RoundingMethod::gptq) {
      result_.report.note = fmt::format("{}: rounded to nearest instead of GPTQ", in_.trouble);
    } else if (options_.clips) {
      result_.report.note = fmt::format("{}: scales do not clip", in_.trouble);
    }
  }

  void nearest() {
    const auto forms = options_.clips && in_.known() && !indefinite_ ? forms_of(ctx_, in_, groups_)
                                                                     : std::vector<ops::QuadraticForm>();
    ops::round_groups(ctx_, w_, groups_, {}, forms, result_.matrix);
    if (in_.known()) {
      const ops::QuadraticForm form(ctx_, in_.hessian);
      set_error(error_of(form, false), error_of(form, true));
    } else {
      set_error(squares(false), squares(true));
    }
  }

  bool gptq() {
    order_ = options_.order == ColumnOrder::as_is ? in_.places : by_falling_diagonal(in_);
    const std::optional<ops::HessianFactor> factor = factor_hessian();
    if (!factor) return false;
    const bool fixed = options_.spec.group == 0 || options_.order == ColumnOrder::static_groups;
    if (options_.order == ColumnOrder::groups && options_.spec.group != 0) {
      groups_.order = order_;
      result_.matrix.order = order_;
    }
    const auto forms = options_.clips ? forms_of(ctx_, in_, groups_) : std::vector<ops::QuadraticForm>();
    if (fixed) ops::round_groups(ctx_, w_, groups_, in_.dead, forms, result_.matrix);
    const int64_t unit = fixed ? 1 : options_.spec.group;
    const ops::FeedbackErrors errors = ops::round_with_feedback(
        ctx_,
        {w_, order_, in_.dead, groups_, fixed, forms, round_up(std::max<int64_t>(options_.block, 1), unit)},
        *factor, result_.matrix);
    const ops::QuadraticForm form(ctx_, in_.hessian);
    set_error(errors.output - result_.report.damping * in_.mean * errors.weights, error_of(form, true));
    return true;
  }

  std::optional<ops::HessianFactor> factor_hessian() {
    ops::HessianView hessian = in_.hessian;
    hessian.places = order_;
    for (double damping = options_.damping;; damping = std::max(10 * damping, kLeastDamping)) {
      auto factor = ops::HessianFactor::of(ctx_, hessian, in_.dead, damping * in_.mean);
      if (factor) {
        result_.report.damping = damping;
        if (damping != options_.damping) {
          result_.report.note = fmt::format("its Hessian factors with a damping of {:.3g}, not of {:.3g}",
                                            damping, options_.damping);
        }
        return factor;
      }
      if (damping >= kMostDamping) break;
    }
    indefinite_ = true;
    result_.report.note = fmt::format(
        "its Hessian factors with no damping from {:.3g} to {:.3g}: rounded to nearest instead of GPTQ",
        options_.damping, std::max(options_.damping, kMostDamping));
    return std::nullopt;
  }

  // Of the weights themselves, or of the errors of their codes.
  void fill(int64_t row, bool weights, double* d) const {
    const ops::CodedMatrix& m = result_.matrix;
    const float* w = w_.data() + row * m.inputs;
    if (weights) {
      std::copy_n(w, m.inputs, d);
      return;
    }
    std::vector<float> values(static_cast<size_t>(m.inputs));
    ops::decode_row(m, row, values);
    for (size_t i = 0; i < values.size(); ++i) {
      d[i] = static_cast<double>(w[i]) - static_cast<double>(values[i]);
    }
  }

  double error_of(const ops::QuadraticForm& form, bool weights) const {
    return ops::sum_of_forms(ctx_, form, result_.matrix.outputs,
                             [&](int64_t row, double* d) { fill(row, weights, d); });
  }

  double squares(bool weights) const {
    std::vector<double> d(in_.places.size());
    double sum = 0;
    for (int64_t row = 0; row < result_.matrix.outputs; ++row) {
      fill(row, weights, d.data());
      sum = std::inner_product(d.begin(), d.end(), d.begin(), sum);
    }
    return sum;
  }

  void set_error(double error, double whole) {
    result_.report.error = whole > 0 ? std::max(error, 0.0) / whole : 0.0;
  }

  Context& ctx_;
  std::span<const float> w_;
  const Inputs& in_;
  const RoundingOptions& options_;
  RoundedMatrix result_;
  ops::GroupsOfInputs groups_;
  std::vector<int32_t> order_;
  bool indefinite_ = false;
};

}  // namespace

RoundedMatrix quantize_matrix(Context& ctx, std::span<const float> w, int64_t outputs, int64_t inputs,
                              const InputStatistics& statistics, const RoundingOptions& options) {
  TRIREME_CHECK(outputs > 0 && inputs > 0 && std::ssize(w) == outputs * inputs, "{} weights for [{}, {}]",
                w.size(), outputs, inputs);
  expect_finite(w, inputs, options.spec);
  const Inputs in = look_at(statistics, inputs);
  return MatrixRounding(ctx, w, outputs, in, options).run();
}

double output_error(Context& ctx, std::span<const float> difference, int64_t outputs,
                    const InputStatistics& statistics) {
  const int64_t inputs = statistics.inputs;
  TRIREME_CHECK(std::ssize(difference) == outputs * inputs, "{} differences for [{}, {}]", difference.size(),
                outputs, inputs);
  if (statistics.hessian.empty()) return 0;
  std::vector<int32_t> places(static_cast<size_t>(inputs));
  std::iota(places.begin(), places.end(), 0);
  const ops::QuadraticForm form(ctx, {statistics.hessian, inputs, places});
  return ops::sum_of_forms(ctx, form, outputs, [&](int64_t row, double* d) {
    std::copy_n(difference.data() + row * inputs, inputs, d);
  });
}

}  // namespace trireme

#include "models/compress/quantize_matrix.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <string_view>

#include "models/compress/layer_hessian.h"
#include "runtime/ops/compress/feedback_rounding.h"

namespace trireme {

namespace {

constexpr std::string_view kInstead = "rounded to nearest instead of GPTQ";

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

std::vector<ops::QuadraticForm> forms_of(Context& ctx, const LayerHessian& in,
                                         const ops::GroupsOfInputs& groups) {
  std::vector<ops::QuadraticForm> forms;
  for (int64_t g = 0; g < groups.count(); ++g) {
    ops::HessianView part = in.view();
    part.places = groups.inputs_of(g);
    forms.emplace_back(ctx, part);
  }
  return forms;
}

/// A matrix on its way to codes.
class MatrixRounding {
 public:
  MatrixRounding(Context& ctx, std::span<const float> w, int64_t outputs, const LayerHessian& in,
                 const RoundingOptions& options)
      : ctx_(ctx),
        w_(w),
        in_(in),
        options_(options),
        result_{empty_matrix(options.spec, outputs, std::ssize(in.places())), {}} {
    result_.report.dead = in.num_dead();
    groups_ = {in_.places(), options_.spec.group == 0 ? std::ssize(in_.places()) : options_.spec.group};
  }

  RoundedMatrix run() {
    if (options_.method != RoundingMethod::gptq || !in_.is_known() || !gptq()) nearest();
    if (!in_.trouble().empty()) explain_trouble();
    return std::move(result_);
  }

 private:
  void explain_trouble() {
    if (options_.method == RoundingMethod::gptq) {
      result_.report.note = fmt::format("{}: {}", in_.trouble(), kInstead);
    } else if (options_.clips) {
      result_.report.note = fmt::format("{}: scales do not clip", in_.trouble());
    }
  }

  void nearest() {
    const auto forms = options_.clips && in_.is_known() && !indefinite_ ? forms_of(ctx_, in_, groups_)
                                                                        : std::vector<ops::QuadraticForm>();
    ops::round_groups(ctx_, w_, groups_, {}, forms, result_.matrix);
    set_error(error(false), error(true));
  }

  bool gptq() {
    if (options_.order == ColumnOrder::as_is)
      order_.assign(in_.places().begin(), in_.places().end());
    else
      order_ = in_.by_falling_diagonal();
    const std::optional<ops::HessianFactor> factor =
        in_.factor(ctx_, order_, options_.damping, kInstead, result_.report);
    indefinite_ = !factor;
    if (!factor) return false;
    const bool fixed = options_.spec.group == 0 || options_.order == ColumnOrder::static_groups;
    if (options_.order == ColumnOrder::groups && options_.spec.group != 0) {
      groups_.order = order_;
      result_.matrix.order = order_;
    }
    const auto forms = options_.clips ? forms_of(ctx_, in_, groups_) : std::vector<ops::QuadraticForm>();
    if (fixed) ops::round_groups(ctx_, w_, groups_, in_.dead(), forms, result_.matrix);
    const int64_t unit = fixed ? 1 : options_.spec.group;
    const ops::FeedbackErrors errors =
        ops::round_with_feedback(ctx_,
                                 {w_, order_, in_.dead(), groups_, fixed, forms,
                                  round_up(std::max<int64_t>(options_.block, 1), unit), options_.keeps_zeros},
                                 *factor, result_.matrix);
    set_error(errors.output - result_.report.damping * in_.mean() * errors.weights, error(true));
    return true;
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

  double error(bool weights) const {
    return in_.error(ctx_, result_.matrix.outputs, [&](int64_t row, double* d) { fill(row, weights, d); });
  }

  void set_error(double error, double whole) {
    result_.report.error = whole > 0 ? std::max(error, 0.0) / whole : 0.0;
  }

  Context& ctx_;
  std::span<const float> w_;
  const LayerHessian& in_;
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
  const LayerHessian in(statistics, inputs);
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

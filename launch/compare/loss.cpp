// Losses of runs: equal bit for bit, or different beyond noise.
#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "launch/compare/comparison.h"

namespace trireme::launch {

namespace {

using Runs = std::vector<ComparedRun>;
using Curve = std::map<int64_t, double>;

std::vector<Curve> curves_of(const Runs& runs) {
  std::vector<Curve> curves;
  for (const ComparedRun& run : runs) {
    Curve& curve = curves.emplace_back();
    for (const ComparedStep& step : run.steps) {
      if (std::isfinite(step.loss)) curve.emplace(step.step, step.loss);
    }
  }
  return curves;
}

std::vector<int64_t> common_steps(const std::vector<Curve>& curves) {
  std::vector<int64_t> steps;
  for (const auto& [step, loss] : curves.front()) {
    const int64_t wanted = step;
    if (std::ranges::all_of(curves, [&](const Curve& curve) { return curve.contains(wanted); }))
      steps.push_back(wanted);
  }
  return steps;
}

/// Whether a step has the same tokens in all runs.
bool has_same_data(const Comparison& comparison) {
  return std::ranges::none_of(comparison.options, [](const OptionDifference& difference) {
    const std::string& key = difference.key;
    return (key.starts_with("data.") && key != "data.prefetch") || key == "train.seed" ||
           key == "train.global-batch" || key == "train.seq-len";
  });
}

std::string loss_text(const NoiseVerdict& verdict, double level) {
  const Interval& d = verdict.difference;
  const std::string values = fmt::format("{:.4f} and {:.4f}", verdict.a, verdict.b);
  if (verdict.is_noise) {
    return fmt::format("noise: {}, B {:+.3g} ({:.3g} %: {:+.3g} to {:+.3g})", values, d.value, 100 * level,
                       d.low, d.high);
  }
  const bool is_higher = d.value > 0;
  return fmt::format("B is {:.4f} {} ({:.3g} %: {:.4f} to {:.4f}): {}", std::abs(d.value),
                     is_higher ? "higher" : "lower", 100 * level, is_higher ? d.low : -d.high,
                     is_higher ? d.high : -d.low, values);
}

double mean_loss(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

/// By the spread of repeats, where both sides show one.
std::optional<Estimate> by_repeats(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() < kFewestRepeats || b.size() < kFewestRepeats) return std::nullopt;
  return difference(mean_of(a), mean_of(b));
}

/// The last half of the steps that all runs have.
class Tails {
 public:
  Tails(const Comparison& comparison, const std::vector<int64_t>& steps)
      : steps_(steps.begin() + static_cast<ptrdiff_t>(steps.size() / 2), steps.end()),
        a_(series(comparison.a)),
        b_(series(comparison.b)) {}

  NoiseVerdict compare(bool has_same_data, double level) const {
    NoiseVerdict verdict;
    const std::vector<double> a = means(a_), b = means(b_);
    verdict.a = mean_loss(a);
    verdict.b = mean_loss(b);
    auto estimate = by_repeats(a, b);
    verdict.method = "the spread of the repeats";
    if (!estimate) {
      estimate = has_same_data ? robust_mean(differences()) : apart();
      verdict.method = has_same_data ? "step by step, as the data of a step are the same"
                                     : "the curves of different data: how much another seed would change is "
                                       "not in the interval";
    }
    if (!estimate) {
      verdict.text = "not compared: fewer than 10 steps that all runs have";
      return verdict;
    }
    verdict.is_known = true;
    verdict.difference = interval_of(*estimate, level);
    verdict.is_noise = verdict.difference.low <= 0 && verdict.difference.high >= 0;
    verdict.method = fmt::format("steps {} to {}; {}", steps_.front(), steps_.back(), verdict.method);
    verdict.text = loss_text(verdict, level);
    return verdict;
  }

 private:
  using Series = std::vector<std::vector<double>>;
  Series series(const Runs& runs) const {
    Series all;
    for (const Curve& curve : curves_of(runs)) {
      auto& losses = all.emplace_back();
      for (const int64_t step : steps_) losses.push_back(curve.at(step));
    }
    return all;
  }
  static std::vector<double> means(const Series& series) {
    std::vector<double> all;
    for (const auto& losses : series) all.push_back(mean_loss(losses));
    return all;
  }
  static std::vector<double> mean_curve(const Series& series) {
    std::vector<double> curve(series.front().size());
    for (const auto& losses : series) {
      for (size_t i = 0; i < curve.size(); ++i) curve[i] += losses[i] / static_cast<double>(series.size());
    }
    return curve;
  }
  std::vector<double> differences() const {
    std::vector<double> curve = mean_curve(b_);
    const std::vector<double> a = mean_curve(a_);
    for (size_t i = 0; i < curve.size(); ++i) curve[i] -= a[i];
    return curve;
  }
  std::optional<Estimate> apart() const {
    const auto a = robust_mean(mean_curve(a_)), b = robust_mean(mean_curve(b_));
    if (!a || !b) return std::nullopt;
    return difference(*a, *b);
  }

  std::vector<int64_t> steps_;
  Series a_, b_;
};

NoiseVerdict compare_val_losses(const Runs& a, const Runs& b, double level) {
  NoiseVerdict verdict;
  std::vector<double> of_a, of_b;
  int64_t step = -1;
  for (const auto& [runs, values] : {std::pair(&a, &of_a), std::pair(&b, &of_b)}) {
    for (const ComparedRun& run : *runs) {
      if (!run.last_val_loss || (step >= 0 && run.last_val_step != step)) {
        verdict.text = "not compared: not all runs were evaluated last at the same step";
        return verdict;
      }
      step = run.last_val_step;
      values->push_back(*run.last_val_loss);
    }
  }
  verdict.is_known = true;
  verdict.a = mean_loss(of_a);
  verdict.b = mean_loss(of_b);
  verdict.method = fmt::format("step {}", step);
  const auto is_first = [&](double value) { return value == of_a.front(); };
  if (std::ranges::all_of(of_a, is_first) && std::ranges::all_of(of_b, is_first)) {
    verdict.text = fmt::format("equal bit for bit: {:.4f}", verdict.a);
    return verdict;
  }
  const auto estimate = by_repeats(of_a, of_b);
  if (!estimate) {
    verdict.difference = {verdict.b - verdict.a, verdict.b - verdict.a, verdict.b - verdict.a, 1};
    verdict.text = fmt::format("{:.4f} and {:.4f}, B {:+.3g}: what is noise only {} runs a side would say",
                               verdict.a, verdict.b, verdict.b - verdict.a, kFewestRepeats);
    return verdict;
  }
  verdict.difference = interval_of(*estimate, level);
  verdict.is_noise = verdict.difference.low <= 0 && verdict.difference.high >= 0;
  verdict.text = loss_text(verdict, level);
  return verdict;
}

}  // namespace

void compare_losses(Comparison& comparison, const CompareOptions& options) {
  std::vector<Curve> curves = curves_of(comparison.a);
  std::ranges::move(curves_of(comparison.b), std::back_inserter(curves));
  const std::vector<int64_t> steps = common_steps(curves);
  comparison.val_loss = compare_val_losses(comparison.a, comparison.b, options.level);
  if (steps.empty()) {
    comparison.loss.text = "not compared: there is no step that all runs have";
    return;
  }
  comparison.last_common = steps.back();
  for (const int64_t step : steps) {
    const double first = curves.front().at(step);
    if (!std::ranges::all_of(curves, [&](const Curve& curve) { return curve.at(step) == first; })) break;
    comparison.equal_until = step;
  }
  comparison.loss = Tails(comparison, steps).compare(has_same_data(comparison), options.level);
  if (comparison.equal_until == comparison.last_common) {
    comparison.loss.is_known = true;
    comparison.loss.is_noise = true;
    comparison.loss.text = fmt::format("equal bit for bit, {} steps", steps.size());
  } else if (comparison.equal_until > 0) {
    comparison.loss.text =
        fmt::format("equal bit for bit until step {}; then {}", comparison.equal_until, comparison.loss.text);
  }
}

}  // namespace trireme::launch

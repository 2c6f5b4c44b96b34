#include "tests/support/run_differences.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace trireme::test {

namespace {

double relative(double a, double b) {
  if (a == b) return 0;
  return b == 0 ? std::numeric_limits<double>::infinity() : std::abs(a - b) / std::abs(b);
}

std::vector<double> relative(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  std::vector<double> all;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) all.push_back(relative(a[i], b[i]));
  return all;
}

// The members that are one number a step.
constexpr std::pair<const char*, std::vector<double> RunDifferences::*> kSteps[] = {
    {"losses", &RunDifferences::losses},
    {"routers' auxiliary losses", &RunDifferences::aux_losses},
    {"routers' z-losses", &RunDifferences::z_losses},
    {"norms", &RunDifferences::norms}};

}  // namespace

double largest_difference(const std::map<std::string, std::vector<float>>& a,
                          const std::map<std::string, std::vector<float>>& b, std::string& worst) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (const auto& [name, expected] : b) {
    const auto it = a.find(name);
    if (it == a.end() || it->second.size() != expected.size()) {
      ADD_FAILURE() << name << " is missing or has another size";
      continue;
    }
    double difference = 0, size = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      if (!std::isfinite(it->second[i])) difference = std::numeric_limits<double>::infinity();
      difference = std::max(difference, std::abs(static_cast<double>(it->second[i]) - expected[i]));
      size = std::max(size, std::abs(static_cast<double>(expected[i])));
    }
    // What is zero but for rounding (the bias of keys, which softmax ignores) has no relative difference.
    if (size > 1e-7 && difference / size > largest) {
      largest = difference / size;
      worst = name;
    }
  }
  return largest;
}

RunDifferences differences(const LayoutResult& a, const LayoutResult& b) {
  RunDifferences d;
  d.gradients = largest_difference(a.gradients, b.gradients, d.worst_gradient);
  d.losses = relative(a.losses, b.losses);
  d.aux_losses = relative(a.aux_losses, b.aux_losses);
  d.z_losses = relative(a.z_losses, b.z_losses);
  d.norms = relative(a.norms, b.norms);
  for (const auto& [name, weights] : b.weights) {
    std::string which;
    if (!name.ends_with("key.bias"))  // all of it is rounding noise
      d.weights[name] = largest_difference({{name, a.weights.at(name)}}, {{name, weights}}, which);
  }
  return d;
}

RunDifferences allowed(const Tolerance& tolerance, const RunDifferences& of) {
  RunDifferences most = of;
  most.gradients = tolerance.gradients;
  for (auto* losses : {&most.losses, &most.aux_losses, &most.z_losses})
    std::ranges::fill(*losses, tolerance.losses);
  std::ranges::fill(most.norms, tolerance.later);
  if (!most.norms.empty()) most.norms[0] = tolerance.norms;
  for (auto& [name, weights] : most.weights) weights = tolerance.later;
  return most;
}

void widen(RunDifferences& most, const RunDifferences& drift, double factor) {
  most.gradients = std::max(most.gradients, factor * drift.gradients);
  for (const auto& [what, steps] : kSteps) {
    double until_now = 0;  // two runs may meet again for a step
    for (size_t i = 0; i < (most.*steps).size(); ++i) {
      until_now = std::max(until_now, (drift.*steps)[i]);
      (most.*steps)[i] = std::max((most.*steps)[i], factor * until_now);
    }
  }
  for (auto& [name, weights] : most.weights) weights = std::max(weights, factor * drift.weights.at(name));
}

void bound(RunDifferences& most, double bound) {
  most.gradients = std::min(most.gradients, bound);
  for (const auto& [what, steps] : kSteps) {
    for (double& difference : most.*steps) difference = std::min(difference, bound);
  }
  for (auto& [name, difference] : most.weights) difference = std::min(difference, bound);
}

std::string beyond(const RunDifferences& d, const RunDifferences& most) {
  std::string text;
  const auto compare = [&](const std::string& what, double difference, double bound) {
    if (!(difference <= bound))
      text += fmt::format("{}: {:.2e} of {:.2e} allowed\n", what, difference, bound);
  };
  compare(fmt::format("gradients, {}", d.worst_gradient), d.gradients, most.gradients);
  for (const auto& [what, steps] : kSteps) {
    for (size_t i = 0; i < (d.*steps).size(); ++i)
      compare(fmt::format("{}, step {}", what, i), (d.*steps)[i], (most.*steps)[i]);
  }
  for (const auto& [name, weights] : d.weights) compare(name, weights, most.weights.at(name));
  return text;
}

void expect_follows(const LayoutResult& result, const LayoutResult& one, const Tolerance& tolerance) {
  EXPECT_GT(one.norms[0], 0) << "a first step without gradients compares nothing";
  const RunDifferences d = differences(result, one);
  EXPECT_EQ(beyond(d, allowed(tolerance, d)), "");
}

void expect_follows_or_drifts(const LayoutResult& result, const LayoutResult& one, LayoutRun of_one) {
  constexpr double kFactor = 4;
  constexpr double kMost = 0.1;
  constexpr uint64_t kNudges = 3;
  EXPECT_GT(one.norms[0], 0) << "a first step without gradients compares nothing";
  const RunDifferences d = differences(result, one);
  RunDifferences most = allowed({}, d);
  if (beyond(d, most).empty()) return;
  for (of_one.nudge = 1; of_one.nudge <= kNudges; ++of_one.nudge)
    widen(most, differences(run_on_one_rank(of_one), one), kFactor);
  bound(most, kMost);
  EXPECT_EQ(beyond(d, most), "");
}

}  // namespace trireme::test

#include "launch/verify/verify.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "launch/trainer/banner.h"
#include "launch/verify/layout_trace.h"
#include "runtime/base/error.h"
#include "runtime/comm/threads/thread_communicator.h"

namespace trireme {

namespace {

double relative(double a, double b) {
  if (!std::isfinite(a) || !std::isfinite(b)) return std::isnan(a) == std::isnan(b) && a == b ? 0 : INFINITY;
  return a == b ? 0 : std::abs(a - b) / std::max(std::abs(a), std::abs(b));
}

// Largest |a - b| over largest |b|. What is zero but for rounding (the bias of keys, which softmax ignores)
// has no relative difference, nor, under AdamW, have its weights.
double difference_of(const std::vector<float>& a, const std::vector<float>& b) {
  constexpr double kNothing = 1e-7;
  if (a.size() != b.size()) return INFINITY;
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(static_cast<double>(a[i]) - b[i]);
    if (std::isnan(d)) return INFINITY;
    difference = std::max(difference, d);
    size = std::max(size, std::abs(static_cast<double>(b[i])));
  }
  return size > kNothing ? difference / size : 0;
}

// |a - b| over |b|.
double distance_of(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - b[i];
    difference += d * d;
    size += static_cast<double>(b[i]) * b[i];
  }
  if (!std::isfinite(difference)) return INFINITY;
  return difference == 0 ? 0 : std::sqrt(difference / size);
}

using Measure = double (*)(const std::vector<float>&, const std::vector<float>&);

TensorDifference largest(const NamedTensors& a, const NamedTensors& b, Measure measure,
                         std::string_view without = "\n") {
  TensorDifference worst;
  for (const auto& [name, values] : b) {
    if (name.ends_with(without)) continue;
    const auto it = a.find(name);
    const double d = it == a.end() ? INFINITY : measure(it->second, values);
    if (d > worst.relative || worst.tensor.empty()) worst = {d, name};
  }
  return worst;
}

std::optional<size_t> first_unlike(const std::vector<double>& a, const std::vector<double>& b,
                                   double tolerance) {
  if (a.size() != b.size()) return 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (relative(a[i], b[i]) > tolerance) return i;
  }
  return std::nullopt;
}

// The tensor whose gradient comes first in the backward pass among those that are not the same.
std::string first_gradient_unlike(const RecordedStep& a, const RecordedStep& b, const ModelConfig& model,
                                  double tolerance) {
  const auto layers = parameters_by_layer(model);
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) {
    for (auto p = layer->rbegin(); p != layer->rend(); ++p) {
      const auto it = a.gradients.find(p->name);
      const double d =
          it == a.gradients.end() ? INFINITY : difference_of(it->second, b.gradients.at(p->name));
      if (d > tolerance) return fmt::format("{} ({:.1e})", p->name, d);
    }
  }
  return "";
}

}  // namespace

Tolerances tolerances(DType precision) {
  if (precision == DType::f32) return {1e-5, 1e-5, 1e-5, 1e-4};
  return {0.03, 3e-4, 3e-3, 0.03};
}

LayoutDifference compare(const LayoutRecord& layout, const LayoutRecord& one, const RunConfig& config) {
  const Tolerances t = tolerances(config.train.precision);
  LayoutDifference result;
  for (size_t s = 0; s < one.steps.size(); ++s) {
    const RecordedStep &a = layout.steps[s], &b = one.steps[s];
    const double gradients = s == 0 ? t.gradients : t.later;
    StepDifference& d = result.steps.emplace_back();
    d.loss = relative(a.loss, b.loss);
    d.grad_norm = relative(a.grad_norm, b.grad_norm);
    d.gradients = largest(a.gradients, b.gradients, difference_of,
                          config.train.precision == DType::f32 ? "\n" : "key.bias");
    d.trace = first_unlike(a.trace, b.trace, 10 * gradients);
    if (!result.faults.empty()) continue;  // what follows a difference says nothing new
    const auto fault = [&](const char* what, double difference, double bound, const std::string& where) {
      if (difference <= bound) return;
      result.faults.push_back(fmt::format("step {}: {} differs by {:.1e}, more than {:.0e}{}", s + 1, what,
                                          difference, bound, where));
    };
    fault("the loss", d.loss, t.losses, "");
    fault("the gradient norm", d.grad_norm, s == 0 ? t.norms : t.later, "");
    fault("a gradient", d.gradients.relative, gradients, ": " + d.gradients.tensor);
    if (result.faults.empty()) continue;
    if (d.trace) {
      result.faults.push_back(fmt::format("step {}: what a layer gives on differs first at {}", s + 1,
                                          trace_place(*d.trace, config.model.num_layers)));
    }
    const std::string tensor = first_gradient_unlike(a, b, config.model, gradients);
    if (!tensor.empty()) {
      result.faults.push_back(fmt::format(
          "step {}: the first gradient that differs in the backward pass is that of {}", s + 1, tensor));
    }
  }
  result.weights = largest(layout.weights, one.weights, distance_of, "key.bias");
  if (result.faults.empty() && config.train.precision == DType::f32 && result.weights.relative > t.later) {
    result.faults.push_back(
        fmt::format("after the last step the weights {} differ by {:.1e}, more than {:.0e}",
                    result.weights.tensor, result.weights.relative, t.later));
  }
  return result;
}

namespace {

LayoutRecord record(const RunConfig& config, Communicator& world, Device device) {
  const int size = config.parallel.world_size();
  if (world.size() == size) return record_layout(world, config, device);
  LayoutRecord first;
  run_thread_ranks(size, [&](Communicator& ranks) {
    LayoutRecord mine = record_layout(ranks, config, device);
    if (ranks.rank() == 0) first = std::move(mine);
  });
  return first;
}

void print(std::FILE* out, const LayoutDifference& d, const LayoutRecord& one) {
  fmt::print(out, "{:>6} {:>12} {:>10} {:>12} {:>10} {:>10}  {}\n", "step", "loss", "differs", "grad norm",
             "differs", "gradients", "most in");
  for (size_t s = 0; s < d.steps.size(); ++s) {
    const StepDifference& step = d.steps[s];
    fmt::print(out, "{:>6} {:>12.6f} {:>10.1e} {:>12.6f} {:>10.1e} {:>10.1e}  {}\n", s + 1, one.steps[s].loss,
               step.loss, one.steps[s].grad_norm, step.grad_norm, step.gradients.relative,
               step.gradients.tensor);
  }
  fmt::print(out, "weights after {} steps differ by {:.1e}, most in {}\n", d.steps.size(), d.weights.relative,
             d.weights.tensor);
  std::fflush(out);
}

}  // namespace

void verify(const RunConfig& config, Communicator& world, Device device, std::FILE* out) {
  const LayoutRecord layout = record(config, world, device);
  if (world.rank() != 0) return;
  const LayoutRecord one = record_one_rank(config, device);
  const LayoutDifference difference = compare(layout, one, config);
  print(out, difference, one);
  if (!difference.faults.empty()) {
    throw_user(ExitCode::numerics, "the layout does not follow one rank\n  {}",
               fmt::join(difference.faults, "\n  "));
  }
  const Tolerances t = tolerances(config.train.precision);
  fmt::print(out,
             "the layout follows one rank: first gradients within {:.0e}, losses {:.0e}, later ones {:.0e}\n",
             t.gradients, t.losses, t.later);
}

}  // namespace trireme

#include "models/compress/prune_matrix.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>

#include "models/compress/layer_hessian.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

constexpr int64_t kLargestPattern = 128;
constexpr std::string_view kByMagnitude = "pruned by magnitude";

const char* prune_method_name(PruneMethod method) {
  switch (method) {
    case PruneMethod::magnitude:
      return "magnitude";
    case PruneMethod::wanda:
      return "wanda";
    case PruneMethod::sparsegpt:
      return "sparsegpt";
  }
  return "?";
}

void expect_prunable(std::span<const float> w, int64_t inputs) {
  const auto wrong = std::find_if_not(w.begin(), w.end(), [](float x) { return std::isfinite(x); });
  if (wrong == w.end()) return;
  const int64_t at = wrong - w.begin();
  throw_bad_input(
      "the weight at [{}, {}] is {}; only finite numbers can be compared, and the model would "
      "compute nothing with it",
      at / inputs, at % inputs, *wrong);
}

/// A matrix on its way to zeros.
class MatrixPruning {
 public:
  MatrixPruning(Context& ctx, std::span<const float> w, int64_t outputs, const LayerHessian& in,
                const PruneOptions& options, const ops::RowRanks& ranks)
      : ctx_(ctx),
        w_(w),
        outputs_(outputs),
        inputs_(std::ssize(in.places())),
        in_(in),
        options_(options),
        ranks_(ranks) {
    result_.values.resize(w.size());
    result_.report.dead = in.num_dead();
  }

  PrunedMatrix run() {
    const bool uses_inputs = options_.method != PruneMethod::magnitude;
    if (uses_inputs && !in_.is_known())
      result_.report.note = fmt::format("{}: {}", in_.trouble(), kByMagnitude);
    if (options_.method != PruneMethod::sparsegpt || !in_.is_known() || !sparsegpt()) by_norms();
    return std::move(result_);
  }

 private:
  void by_norms() {
    std::vector<double> norms;
    if (options_.method == PruneMethod::wanda && in_.is_known()) {
      for (int64_t i = 0; i < inputs_; ++i) norms.push_back(std::sqrt(std::max(in_.diagonal(i), 0.0)));
    }
    const ops::NormedWeights weights{w_, outputs_, inputs_, norms};
    PruneScope scope = options_.scope;
    if (scope == PruneScope::automatic)
      scope = options_.method == PruneMethod::wanda ? PruneScope::output : PruneScope::matrix;
    if (options_.of > 0) {
      ops::prune_groups(ctx_, weights, options_.zeros, options_.of, result_.values);
    } else if (scope == PruneScope::output) {
      const double zeros = options_.sparsity * static_cast<double>(inputs_);
      ops::prune_groups(ctx_, weights, static_cast<int64_t>(zeros), 0, result_.values);
    } else {
      ops::prune_whole(ctx_, weights, options_.sparsity, ranks_, result_.values);
    }
    set_error(error(false));
  }

  bool sparsegpt() {
    const auto factor = in_.factor(ctx_, in_.places(), options_.damping, kByMagnitude, result_.report);
    if (!factor) return false;
    const int64_t block = options_.of > 0 ? round_up(options_.block, options_.of) : options_.block;
    const ops::FeedbackErrors errors = ops::prune_with_feedback(
        ctx_, {w_, outputs_, inputs_, in_.dead(), options_.sparsity, options_.zeros, options_.of, block},
        *factor, ranks_, result_.values);
    set_error(errors.output - result_.report.damping * in_.mean() * errors.weights);
    return true;
  }

  double error(bool of_weights) const {
    return in_.error(ctx_, outputs_, [&](int64_t row, double* d) {
      const float* w = w_.data() + row * inputs_;
      const float* value = result_.values.data() + row * inputs_;
      for (int64_t i = 0; i < inputs_; ++i)
        d[i] = static_cast<double>(w[i]) - (of_weights ? 0.0 : static_cast<double>(value[i]));
    });
  }

  void set_error(double error) {
    const double whole = this->error(true);
    result_.report.error = whole > 0 ? std::max(error, 0.0) / whole : 0.0;
  }

  Context& ctx_;
  std::span<const float> w_;
  int64_t outputs_, inputs_;
  const LayerHessian& in_;
  const PruneOptions& options_;
  const ops::RowRanks& ranks_;
  PrunedMatrix result_;
};

}  // namespace

std::string trouble_with(const PruneOptions& o) {
  if (!(o.sparsity >= 0 && o.sparsity <= 1))
    return fmt::format("a sparsity of {}; it is the part of the weights that become zero, from 0 to 1",
                       o.sparsity);
  if (o.of != 0 && (o.of < 2 || o.of > kLargestPattern || o.zeros < 1 || o.zeros > o.of))
    return fmt::format(
        "{} zeros of every {} inputs; a pattern has 1 to N zeros of every N from 2 to {}, as 2 of 4", o.zeros,
        o.of, kLargestPattern);
  if (o.of == 0 && o.zeros != 0) return fmt::format("{} zeros of no number of inputs", o.zeros);
  if (o.scope != PruneScope::automatic && (o.of != 0 || o.method == PruneMethod::sparsegpt))
    return fmt::format("a scope for {}, which has one of its own", o.of != 0 ? "patterns" : "sparsegpt");
  if (!(o.damping >= 0 && std::isfinite(o.damping)))
    return fmt::format("a damping of {}; 0.01 is usual", o.damping);
  if (o.block < 1) return fmt::format("blocks of {} columns; 128 is usual", o.block);
  return {};
}

std::string describe_pruning(const PruneOptions& options) {
  const std::string part = options.of > 0 ? fmt::format("{}:{}", options.zeros, options.of)
                                          : fmt::format("{:.4g}%", 100 * options.sparsity);
  return fmt::format("{} zero, {}", part, prune_method_name(options.method));
}

PrunedMatrix prune_matrix(Context& ctx, std::span<const float> w, int64_t outputs, int64_t inputs,
                          const InputStatistics& statistics, const PruneOptions& options,
                          const ops::RowRanks& ranks) {
  TRIREME_CHECK(outputs >= 0 && inputs > 0 && std::ssize(w) == outputs * inputs, "{} weights for [{}, {}]",
                w.size(), outputs, inputs);
  if (const std::string trouble = trouble_with(options); !trouble.empty())
    throw_usage("pruning has {}", trouble);
  expect_prunable(w, inputs);
  const LayerHessian in(statistics, inputs);
  return MatrixPruning(ctx, w, outputs, in, options, ranks).run();
}

}  // namespace trireme

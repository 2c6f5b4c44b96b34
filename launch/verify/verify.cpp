#include "launch/verify/verify.h"

#include <cmath>
#include <memory>

#include <fmt/format.h>

#include "launch/config/optimizer_choice.h"
#include "launch/report/banner.h"
#include "launch/report/number_text.h"
#include "launch/verify/update_check.h"
#include "runtime/base/error.h"
#include "runtime/comm/threads/thread_communicator.h"

namespace trireme::launch {

namespace {

bool agree_to_go_on(Communicator& world, bool goes_on) {
  Context ctx;
  int64_t answer = goes_on ? 1 : 0;
  world.broadcast(ctx.host_stream(), Tensor::borrow(&answer, {1}, DType::i64), 0);
  return answer == 1;
}

/// Rank 0's part: one rank beside the layout.
class Beside {
 public:
  Beside(const RunConfig& config, Device device)
      : config_(config), reference_(config, device), updates_(config) {}

  void compare_passes(const RecordedStep& step, const NamedTensors& weights, const NamedTensors& biases) {
    reference_step_ = reference_.run(weights, biases, step);
    report.steps.push_back(compare_step(step, reference_step_, config_));
    report.losses.push_back(step.loss);
    report.norms.push_back(step.grad_norm);
    add(report.steps.back().errors);
  }

  void compare_update(const RecordedStep& step, const NamedTensors& before, const NamedTensors& after,
                      const NamedTensors& biases, const std::string& differing_copies) {
    if (!report.steps.back().is_finite) return;
    std::vector<std::string> errors;
    const std::string error = updates_.check(before, step.gradients, step.mean, step.grad_norm, after);
    if (!error.empty()) errors.push_back(error);
    if (!differing_copies.empty()) errors.push_back("after the update " + differing_copies);
    for (const auto& [name, values] : reference_step_.biases) {
      if (biases.at(name) != values) errors.push_back(fmt::format("after the update {} differs", name));
    }
    add(errors);
  }

  bool goes_on() const { return report.errors.empty() && report.steps.back().is_finite; }

  VerifyReport report;

 private:
  void add(const std::vector<std::string>& errors) {
    for (const std::string& error : errors)
      report.errors.push_back(fmt::format("step {}: {}", report.steps.size(), error));
  }

  RunConfig config_;
  Reference reference_;
  UpdateCheck updates_;
  ReferenceStep reference_step_;
};

}  // namespace

VerifyReport verify_layout(Communicator& world, const RunConfig& config, Device device, RunHooks* hooks) {
  RecordedRun layout(world, config, device, hooks);
  std::unique_ptr<Beside> beside;
  if (world.rank() == 0) beside = std::make_unique<Beside>(config, device);
  NamedTensors before = layout.weights(), biases = layout.biases();
  for (int64_t s = 0; s < config.train.steps; ++s) {
    const RecordedStep step = layout.run_passes();
    if (config.prune) before = layout.weights();  // the first passes may begin with a choice
    if (beside) beside->compare_passes(step, before, biases);
    layout.update();
    NamedTensors after = layout.weights();
    biases = layout.biases();
    const std::string unlike = layout.differing_copies();
    if (beside) beside->compare_update(step, before, after, biases, unlike);
    before = std::move(after);
    if (!agree_to_go_on(world, !beside || beside->goes_on())) break;
  }
  return beside ? std::move(beside->report) : VerifyReport();
}

namespace {

VerifyReport report_of(const RunConfig& config, Communicator& world, Device device, RunHooks* hooks) {
  const int size = config.parallel.world_size();
  if (world.size() == size) return verify_layout(world, config, device, hooks);
  VerifyReport first;
  run_thread_ranks(size, [&](Communicator& ranks) {
    VerifyReport mine = verify_layout(ranks, config, device);
    if (ranks.rank() == 0) first = std::move(mine);
  });
  return first;
}

void print(std::FILE* out, const VerifyReport& report) {
  fmt::print(out, "{:>6} {:>12} {:>9} {:>12} {:>21} {:>21}  {}\n", "step", "loss", "differs", "grad norm",
             "activations / bound", "gradients / bound", "closest to its bound");
  for (size_t s = 0; s < report.steps.size(); ++s) {
    const StepDifference& d = report.steps[s];
    if (!d.is_finite) {
      fmt::print(out, "{:>6} {:>12} on both sides: nothing left to compare\n", s + 1, report.losses[s]);
      continue;
    }
    fmt::print(out, "{:>6} {:>12.6f} {:>9.1e} {:>12.6f} {:>11.1e} / {:>7.1e} {:>11.1e} / {:>7.1e}  {}\n",
               s + 1, report.losses[s], d.loss.distance, report.norms[s], d.passes.distance, d.passes.bound,
               d.gradients.distance, d.gradients.bound, d.gradients.where);
  }
  for (size_t s = 0; s < report.steps.size(); ++s) {
    const ChoiceDifferences& c = report.steps[s].choices;
    if (c.num_other == 0) continue;
    fmt::print(out,
               "step {}: by rounding, one rank would have routed {} of {} choices to other experts "
               "(scores at most {:.1e} apart); it used the layout's choices\n",
               s + 1, c.num_other, c.num_choices, c.widest);
  }
  std::fflush(out);
}

void print_verdict(std::FILE* out, const VerifyReport& report, DType precision) {
  double finest = INFINITY, coarsest = 0;
  int64_t num_noise = 0, num_gradients = 0;
  for (const StepDifference& d : report.steps) {
    if (d.num_noise < d.num_gradients) finest = std::min(finest, d.finest);
    coarsest = std::max(coarsest, d.coarsest);
    num_noise += d.num_noise;
    num_gradients += d.num_gradients;
  }
  fmt::print(out,
             "the layout matches one rank in {}: none of {} gradients in {} differs by more than "
             "rounding explains\n",
             precision_name(precision), num_gradients, counted(std::ssize(report.steps), "step"));
  if (std::isfinite(finest)) {
    fmt::print(out, "  an error of {:.1e} to {:.1e} of a gradient would have been detected{}\n", finest,
               coarsest,
               num_noise == 0 ? "" : fmt::format("; for {} rounding explains a tenth or more", num_noise));
  }
}

}  // namespace

std::vector<RunConfig> verified_runs(const RunConfig& config) {
  std::vector<RunConfig> runs = {config};
  const bool in_16_bits = config.train.precision != DType::f32 ||
                          config.parallel.gradient_dtype != DType::f32 ||
                          (uses_muon(config.optimizer) && muon_precision(config) != DType::f32);
  if (in_16_bits) {
    RunConfig& wide = *runs.insert(runs.begin(), config);
    wide.train.precision = DType::f32;
    wide.train.master = true;
    wide.parallel.gradient_dtype = DType::f32;
    wide.optimizer.muon_precision = DType::f32;
  }
  return runs;
}

void verify(const RunConfig& config, Communicator& world, Device device, std::FILE* out, RunHooks* hooks) {
  const std::vector<RunConfig> runs = verified_runs(config);
  for (const RunConfig& run : runs) {
    const VerifyReport report = report_of(run, world, device, hooks);
    if (world.rank() != 0) continue;
    if (runs.size() > 1) fmt::print(out, "in {}:\n", precision_name(run.train.precision));
    print(out, report);
    if (!report.errors.empty()) {
      throw_user(ExitCode::numerics,
                 "the layout does not match one rank\n"
                 "  {}",
                 fmt::join(report.errors, "\n  "));
    }
    print_verdict(out, report, run.train.precision);
  }
}

}  // namespace trireme::launch

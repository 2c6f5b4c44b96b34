#include <fmt/format.h>

#include "launch/cli/help_text.h"
#include "launch/cli/options/option_table.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/commands.h"
#include "launch/commands/rank_world.h"
#include "launch/commands/run_facts.h"
#include "launch/config/complete_config.h"
#include "launch/report/banner.h"
#include "launch/verify/small_model.h"
#include "launch/verify/verify.h"
#include "runtime/base/error.h"
#include "runtime/comm/mpi/mpi_environment.h"

namespace trireme::launch {

namespace {

constexpr int kMostThreads = 256;

std::vector<Option> options_of_verify() {
  std::vector<Option> options = all_options();
  const auto more = verify_options();
  options.insert(options.end(), more.begin(), more.end());
  return options;
}

std::string verify_help() {
  const HelpLine lines[] = {
      {"--config FILE", "INI file of a run: verify its model, layout, precision and optimizer"},
      {"-h, --help", "show this help"},
  };
  return fmt::format(
      "usage: trireme verify [options of trireme train]\n"
      "       mpirun -n RANKS trireme verify [options]\n\n"
      "  trireme verify --dp 2 --tp 2 --pp 2\n"
      "  mpirun -n 8 trireme verify --config run.ini --dp 2 --tp 2 --pp 2 --parallel.schedule "
      "zb-h1\n\n"
      "Trains the layout on random tokens and repeats every step on one rank from the same weights. "
      "Compares the tensors\n"
      "that pass between layers, losses, gradients, replicas of weights and optimizer updates, within "
      "the rounding error\n"
      "that one rank shows in the same step. Reports the smallest error it would have detected, and "
      "on a mismatch the first\n"
      "step, micro-batch, layer and tensor that differ. A 16-bit run is verified in fp32 first. "
      "Without mpirun, ranks run as\n"
      "threads. Exit code 5: the layout differs from one rank.\n\n{}{}\n"
      "All other options are those of trireme train. Of the data options, only the tokenizer (for the "
      "vocabulary size) and\n"
      "data.documents matter (separate: every fourth token ends a document). Training length, "
      "learning-rate schedule, loss\n"
      "scaling, evaluation, samples and checkpoints have no effect.\n",
      help_lines(lines), help_options(verify_options()));
}

RunConfig config_to_verify(const RunConfig& asked) {
  constexpr int64_t kAnyVocab = 257;
  if (asked.train.float8) {
    throw_usage(
        "--train.fp8 on: FP8 rounding errors exceed the differences allowed between layouts; verify "
        "with --train.fp8 off");
  }
  if (asked.run.cuda_graph) {
    throw_usage(
        "--run.cuda-graph on: verify compares gradients in the middle of a step, which a CUDA graph "
        "runs as a whole; leave it out");
  }
  if (asked.run.profile_step > 0) {
    throw_usage("--run.profile-step {}: trireme verify does not profile; leave it out",
                asked.run.profile_step);
  }
  if (asked.run.trace.first > 0) {
    throw_usage("--run.trace {}:{}: trireme verify does not trace; leave it out", asked.run.trace.first,
                asked.run.trace.last);
  }
  if (asked.distill) {
    throw_usage(
        "--distill.teacher {}: trireme verify compares layouts of a training without a teacher; leave it out",
        asked.distill.teacher);
  }
  if (!asked.start.file.empty() && !asked.verify.full) {
    throw_usage(
        "--init-from {}: these weights are of the full-size model, and verify reduces it; add "
        "--verify.full on",
        asked.start.file);
  }
  RunConfig config = asked;
  const int64_t known = known_vocab_size(config);
  config.model.vocab_size = known > 0 ? known : kAnyVocab;
  if (!config.verify.full) config = small_run(config);
  config.train.steps = config.verify.steps;
  config.run.threads = 1;
  return config;
}

}  // namespace

void run_verify(std::span<const std::string> args, const RankPlace& place) {
  if (asks_for_help(args)) {
    if (place.rank == 0) fmt::print("{}", verify_help());
    return;
  }
  ArgumentRules rules{.command = "verify", .options = options_of_verify(), .switches = {}};
  rules.simulates_ranks = true;
  const RunArguments arguments = parse_run_arguments(rules, args, place.world_size);
  const RunConfig config = config_to_verify(arguments.config);
  const int num_ranks = config.parallel.world_size();
  if (num_ranks > place.world_size && num_ranks > kMostThreads) {
    throw_usage("a layout of {} ranks is too large for the threads of one process, at most {}: mpirun -n {}",
                num_ranks, kMostThreads, num_ranks);
  }
  if (place.rank == 0) {
    print_notes(arguments);
    fmt::print("model   {}\nbatch   {}\nlayout  {} against one rank, {}\n", model_line(config.model),
               batch_line(config), layout_line(config),
               place.world_size == num_ranks ? "as processes" : "as threads of this process");
    std::fflush(stdout);
  }
  const RankWorld ranks = make_world(config.run, place, config_facts(config, rules.options));
  verify(config, *ranks.world, ranks.device, stdout);
}

}  // namespace trireme::launch

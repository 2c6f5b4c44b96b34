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

namespace trireme {

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
      {"--config FILE", "configuration of a run: its model, layout, precision and optimizer are verified"},
      {"-h, --help", "this text"},
  };
  return fmt::format(
      "usage: trireme verify [options of trireme train]\n       mpirun -n RANKS trireme verify [options]\n\n"
      "  trireme verify --dp 2 --tp 2 --pp 2\n"
      "  mpirun -n 8 trireme verify --config run.ini --dp 2 --tp 2 --pp 2 --parallel.schedule zb-h1\n\n"
      "Trains the layout, and every step of it on one rank too, from the same weights, on random tokens. "
      "Compares "
      "what\npasses between layers, losses, gradients, copies of weights and the optimizer's updates, each "
      "with what "
      "rounding\nmakes of one rank in the same step, and says how small an error it would have seen. Where "
      "they part: "
      "the step, the\nmicro-batch, the layer and the tensor that is first. A run of 16 bits is verified in "
      "fp32 first. "
      "Alone, it runs the\nranks as threads. Exit code 5 when the layout does not follow.\n\n{}{}\n"
      "All other options are those of trireme train. Those of data only say how large the vocabulary is, and "
      "whether\n"
      "documents are kept apart (then every fourth token ends one); the course of a training (length, "
      "learning-rate\n"
      "schedule, loss scaling, evaluation, samples, checkpoints) plays no part.\n",
      help_lines(lines), help_options(verify_options()));
}

RunConfig config_to_verify(const RunConfig& asked) {
  constexpr int64_t kAnyVocab = 257;
  if (asked.train.float8) {
    throw_usage(
        "--train.fp8 on: what 8 bits round away is more than layouts may differ by; verify the layout with "
        "--train.fp8 off");
  }
  if (asked.run.cuda_graph) {
    throw_usage(
        "--run.cuda-graph on: gradients are compared between the halves of a step, which a graph does at "
        "once; "
        "leave it out");
  }
  if (asked.run.profile_step > 0) {
    throw_usage("--run.profile-step {}: trireme verify compares numbers and measures no time; leave it out",
                asked.run.profile_step);
  }
  if (!asked.start.file.empty() && !asked.verify.full) {
    throw_usage(
        "--init-from {}: the weights fit the whole model, and a small one is verified; --verify.full on "
        "takes "
        "it as it is",
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
    fmt::print("model   {}\nbatch   {}\nlayout  {} against one rank, {}\n", model_line(config.model),
               batch_line(config), layout_line(config),
               place.world_size == num_ranks ? "as processes" : "as threads of this process");
    std::fflush(stdout);
  }
  const RankWorld ranks = make_world(config.run, place, config_facts(config, rules.options));
  verify(config, *ranks.world, ranks.device, stdout);
}

}  // namespace trireme

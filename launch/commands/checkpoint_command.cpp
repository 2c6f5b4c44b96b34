#include <algorithm>
#include <cstdio>
#include <functional>
#include <vector>

#include <fmt/format.h>

#include "launch/checkpoint/checkpoint_tools.h"
#include "launch/cli/help_text.h"
#include "launch/cli/options/nearest_name.h"
#include "launch/cli/plain_arguments.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/commands.h"
#include "parallel/checkpoint/weights/whole_tensors.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

using Paths = std::vector<std::string>;

struct CheckpointAction {
  std::string name, arguments, help;
  size_t num_arguments;
  std::function<void(const Paths&)> run;
};

std::vector<CheckpointAction> checkpoint_actions() {
  return {
      {"ls", "PATH", "list the checkpoints of a run or directory", 1,
       [](const Paths& paths) { list_checkpoints(paths[0], stdout); }},
      {"verify", "PATH", "read all files and check every hash; exit code 4 if anything is damaged", 1,
       [](const Paths& paths) { verify_checkpoints(paths[0], stdout); }},
      {"show", "PATH", "show state, options and tensors of the newest checkpoint", 1,
       [](const Paths& paths) { show_checkpoint(paths[0], stdout); }},
      {"diff", "PATH PATH",
       "compare two checkpoints tensor by tensor; exit code 4 if their states "
       "differ",
       2,
       [](const Paths& paths) {
         if (!diff_checkpoints(paths[0], paths[1], stdout))
           throw_user(ExitCode::checkpoint, "{} and {} are not the same state", paths[0], paths[1]);
       }},
      {"export", "PATH FILE",
       "write the fp32 weights alone, in the format of a run's "
       "model.safetensors",
       2,
       [](const Paths& paths) {
         export_weights(WholeTensors(find_checkpoints(paths[0]).front()), paths[1]);
         fmt::print("{}\n", paths[1]);
       }},
      {"consolidate", "PATH DIR", "write the same state as saved by one rank, as DIR/step-N", 2,
       [](const Paths& paths) {
         fmt::print("{}\n", consolidate(WholeTensors(find_checkpoints(paths[0]).front()), paths[1]));
       }},
  };
}

std::string checkpoint_help(const std::vector<CheckpointAction>& all) {
  std::vector<HelpLine> lines;
  for (const CheckpointAction& action : all)
    lines.emplace_back(fmt::format("{} {}", action.name, action.arguments), action.help);
  return fmt::format(
      "usage: trireme checkpoint ACTION PATH...\n\n"
      "  trireme checkpoint verify runs/gpt2-3m-bible\n"
      "  trireme checkpoint export runs/gpt2-3m-bible/checkpoints/step-00001000 "
      "weights.safetensors\n\n"
      "PATH is a checkpoint, a run directory or a directory of checkpoints, of which the newest is "
      "used.\n\n"
      "{}",
      help_lines(lines));
}

}  // namespace

void run_checkpoint(std::span<const std::string> args, const RankPlace& place) {
  if (place.rank != 0) return;
  const std::vector<CheckpointAction> all = checkpoint_actions();
  if (args.empty() || asks_for_help(args)) {
    fmt::print("{}", checkpoint_help(all));
    return;
  }
  const auto action = std::ranges::find(all, args[0], &CheckpointAction::name);
  if (action == all.end()) {
    std::vector<std::string> names;
    for (const CheckpointAction& one : all) names.push_back(one.name);
    throw_usage("unknown action '{}' of trireme checkpoint{}; see trireme checkpoint --help", args[0],
                did_you_mean(args[0], names));
  }
  std::vector<std::string> errors;
  const Paths paths = parse_plain_arguments("checkpoint " + action->name, {}, args.subspan(1), errors);
  if (errors.empty() && paths.size() != action->num_arguments)
    errors.push_back(fmt::format("trireme checkpoint {} takes {}", action->name, action->arguments));
  if (!errors.empty()) throw_errors(errors, "checkpoint");
  action->run(paths);
}

}  // namespace trireme::launch

#include "launch/commands/commands.h"

#include <vector>

#include <fmt/format.h>

#include "launch/cli/help_text.h"
#include "launch/cli/options/nearest_name.h"
#include "launch/process/build_info.h"
#include "runtime/base/error.h"

namespace trireme {

std::span<const Command> commands() {
  static constexpr Command kCommands[] = {
      {"train", "train a model", run_train},
      {"verify", "does a layout train as one rank does? Runs both and compares", run_verify},
      {"data", "make token files and tokenizers from text, and look into token files", run_data},
      {"checkpoint", "look into checkpoints, verify, compare, export and join them", run_checkpoint},
      {"schedule", "draw a pipeline schedule, prove it, and state its bubble and memory", run_schedule},
      {"bench", "how fast ranks move data, and how fast ops run", run_bench},
      {"info", "this machine, the presets, and the size of any model", run_info},
  };
  return kCommands;
}

std::string program_help() {
  std::vector<HelpLine> lines;
  for (const Command& command : commands()) lines.emplace_back(command.name, command.summary);
  lines.emplace_back("COMMAND --help", "the options of a command");
  lines.emplace_back("--version", "version and build");
  return fmt::format(
      "Trireme trains Transformers on many ranks.\n\nusage: trireme COMMAND [options]\n"
      "       mpirun -n RANKS trireme train [options]\n\n{}\n"
      "exit codes: 0 done, 1 defect of the program, 2 usage, 3 bad input file, 4 checkpoint, 5 numerics,\n"
      "            6 hang, 7 resources, 75 saved and to be resumed, 128 + N ended by signal N\n",
      help_lines(lines));
}

void run_program(std::span<const std::string> args, const RankPlace& place) {
  const std::string name = args.empty() ? "--help" : args[0];
  if (name == "--help" || name == "-h" || name == "help" || name == "--version") {
    if (place.rank == 0) fmt::print("{}", name == "--version" ? build_line() + "\n" : program_help());
    return;
  }
  std::vector<std::string> names;
  for (const Command& command : commands()) {
    if (command.name == name) return command.run(args.subspan(1), place);
    names.emplace_back(command.name);
  }
  throw_usage("'{}' is no command{}; commands: {} (trireme --help says more)", name,
              did_you_mean(name, names), fmt::join(names, ", "));
}

}  // namespace trireme

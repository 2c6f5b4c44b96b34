#include "launch/commands/commands.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "launch/cli/help_text.h"
#include "launch/cli/options/nearest_name.h"
#include "launch/cli/run_arguments.h"
#include "launch/process/build_info.h"
#include "runtime/base/error.h"

namespace trireme::launch {

std::span<const Command> commands() {
  static constexpr Command kCommands[] = {
      {"train", "train a model", run_train},
      {"launch", "start a job: locally, on hosts or under Slurm; show where its ranks land", run_launch},
      {"scale", "measure how training scales with ranks and layouts, and where the loss goes", run_scale},
      {"generate", "continue prompts, or converse with a model", run_generate},
      {"serve", "answer clients of a model over HTTP, many at once (OpenAI's protocol)", run_serve},
      {"evaluate", "perplexity of a text, divergence from another model, accuracy on choices", run_evaluate},
      {"compress", "cut, prune, train back and quantize a model by a recipe, with gates", run_compress},
      {"teacher", "write what a model says of a training's samples, to distil students from", run_teacher},
      {"verify", "compare the training of a parallel layout with a single-rank run", run_verify},
      {"data", "build token files and tokenizers from text; inspect token files", run_data},
      {"import", "make a run directory of a published model (Hugging Face, GGUF)", run_import},
      {"checkpoint", "list, verify, compare, export and consolidate checkpoints", run_checkpoint},
      {"report", "write an HTML page about runs: curves, where the time goes, memory, events", run_report},
      {"schedule", "draw and check a pipeline schedule; print its bubble and peak activations", run_schedule},
      {"bench", "measure collectives, ops and generation", run_bench},
      {"compare", "say what differs between runs, and whether it is noise", run_compare},
      {"doctor", "check this machine, or all hosts of a job: libraries, binding, disks, network", run_doctor},
      {"info", "show this machine, the presets and the size of a model", run_info},
  };
  return kCommands;
}

std::string program_help() {
  std::vector<HelpLine> lines;
  for (const Command& command : commands()) lines.emplace_back(command.name, command.summary);
  lines.emplace_back("COMMAND --help", "show the options of a command");
  lines.emplace_back("--version", "show version and build");
  return fmt::format(
      "Trireme trains Transformers on many ranks.\n\n"
      "usage: trireme COMMAND [options]\n"
      "       mpirun -n RANKS trireme train [options]\n\n{}\n"
      "exit codes: 0 success, 1 internal error, 2 usage, 3 bad input file, 4 checkpoint, 5 numerics, "
      "6 hang,\n"
      "            7 resources, 8 a gate of compress, 75 saved: run it again to go on,\n"
      "            93 restarts without progress,\n"
      "            128 + N ended by signal N\n",
      help_lines(lines));
}

bool starts_ranks(std::string_view command) { return command == "launch" || command == "scale"; }

bool runs_as_ranks(std::span<const std::string> args) {
  if (args.empty() || asks_for_help(args) || std::ranges::find(args, "--dry-run") != args.end()) return false;
  return args[0] == "train" || args[0] == "generate" || args[0] == "serve" || args[0] == "evaluate" ||
         args[0] == "compress" || args[0] == "teacher" ||
         (args[0] == "bench" && args.size() > 1 && (args[1] == "collectives" || args[1] == "generate"));
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
  throw_usage("unknown command '{}'{}; commands: {} (see trireme --help)", name, did_you_mean(name, names),
              fmt::join(names, ", "));
}

}  // namespace trireme::launch

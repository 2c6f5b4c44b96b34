#include <fmt/format.h>

#include "launch/cli/config_file.h"
#include "launch/cli/help_text.h"
#include "launch/cli/options/option_table.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/commands.h"
#include "launch/commands/rank_job.h"
#include "launch/process/stop_request.h"
#include "launch/report/banner.h"
#include "launch/run/end_at_start.h"
#include "launch/run/trainer.h"

namespace trireme::launch {

namespace {

std::string train_help() {
  const HelpLine lines[] = {
      {"--config FILE",
       "read options from an INI file, its sections named as below; the command line overrides it"},
      {"--dry-run",
       "print the resolved configuration, batch sizes, parameter count and predicted memory, and "
       "exit; the layout (--dp N ...) says how many ranks to assume"},
      {"-h, --help", "show this help"},
  };
  return fmt::format(
      "usage: trireme train [options]\n"
      "       mpirun -n RANKS trireme train [options]\n\n"
      "  trireme train --data.text book.txt --model.preset gpt2-3m --train.steps 500\n"
      "  mpirun -n 2 trireme train --config run.ini --optimizer.lr 1e-3\n\n"
      "The run directory gets a config.ini that repeats the run. Defaults are in [brackets]. To find "
      "an option by\n"
      "its name in Megatron-LM, Hugging Face, DeepSpeed, nanoGPT or torchtitan, see docs/options.md, "
      "or just try it.\n\n"
      "{}{}",
      help_lines(lines), help_options(all_options()));
}

}  // namespace

void run_train(std::span<const std::string> args, const RankPlace& place) {
  if (asks_for_help(args)) {
    if (place.rank == 0) fmt::print("{}", train_help());
    return;
  }
  const ArgumentRules rules{"train", all_options(), {"dry-run"}, true};
  const RunArguments arguments = parse_run_arguments(rules, args, place.world_size);
  const std::string config_ini = write_config(arguments.config);
  if (arguments.switches.contains("dry-run")) {
    if (place.rank != 0) return;
    print_notes(arguments);
    fmt::print("{}\n{}", banner(arguments.config, {}), config_ini);
    return;
  }
  if (place.rank == 0) print_notes(arguments);
  const StopRequest stop(place.rank, end_at_start(arguments.config, place.rank, place.log));
  const RankJob ranks(arguments.config, place);
  train(arguments.config, config_ini, ranks.job, stdout);
}

}  // namespace trireme::launch

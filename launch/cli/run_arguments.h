// Parses the arguments of a command into a complete configuration.
#pragma once

#include <set>
#include <span>
#include <string>
#include <vector>

#include "launch/cli/options/option.h"

namespace trireme::launch {

/// What a command accepts.
struct ArgumentRules {
  std::string command;                ///< "train", named in errors
  std::vector<Option> options;        ///< rows of the table
  std::vector<std::string> switches;  ///< "dry-run": options of the command alone, without a value
  bool needs_data = false;            ///< the configuration must name something to train on
  bool simulates_ranks = false;       ///< started alone it stands for all ranks of any layout
  std::string given_by = {};  ///< where the arguments come from, for messages; empty: the command line
};

struct RunArguments {
  RunConfig config;                   ///< complete
  std::set<std::string> switches;     ///< those that were given
  std::vector<std::string> warnings;  ///< former names of options, one sentence each
  std::vector<std::string>
      notes;  ///< keys of the file that the command line left without effect, one sentence each
};

/// The command line wins over the file of --config, the last of equal arguments over the others. With the
/// switch "dry-run" and a --parallel.data, the layout is the one asked for, however many ranks were started.
/// Throws one UserError (usage) with all errors as a numbered list.
RunArguments parse_run_arguments(const ArgumentRules& rules, std::span<const std::string> args,
                                 int world_size);

/// Prints warnings and notes.
void print_notes(const RunArguments& arguments);

/// True when -h or --help is among the arguments.
bool asks_for_help(std::span<const std::string> args);

/// One UserError (usage) out of several errors. `command` is named for its --help.
[[noreturn]] void throw_errors(const std::vector<std::string>& errors, const std::string& command);

}  // namespace trireme::launch

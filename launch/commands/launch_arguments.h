// The command line of trireme launch.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace trireme::launch {

struct LaunchArguments {
  int ranks = 0;
  int cores = 0;
  int gpus = -1;
  std::string hosts, slurm, mpirun, failed_hosts;
  std::string launcher = "auto";
  bool dry_run = false, submit = false, allow_root = false;
  std::vector<std::string> command;  ///< behind the --: what each rank runs, as of "trireme"
};

std::string launch_help();
/// What is meant for mpirun or Slurm begins with dashes, too: it is joined to its option by '='.
std::vector<std::string> with_joined_extras(std::span<const std::string> args);
/// UserError (usage) with all errors.
LaunchArguments parse_launch_arguments(std::span<const std::string> args);

}  // namespace trireme::launch

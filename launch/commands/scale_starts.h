// How the runs of a series are started.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "launch/commands/scale_arguments.h"
#include "launch/start/choose_start.h"

namespace trireme::launch {

/// Where runs of each number of ranks would start; the reason where that cannot be.
struct Starts {
  std::map<int, StartChoice> choices;
  std::map<int, std::string> refused;
  int threads = 0;  ///< of each rank; 0: as Slurm gives them
};

/// The launcher for all runs: what is asked for; mpirun where --mpirun has options for it, and in a Slurm job
/// where some runs have fewer ranks than it has tasks, since runs that compare are started alike.
std::string launcher_for_all(const ScaleArguments& a, const ThisMachine& machine, const Variables& variables);

/// With as many cores for each rank as --cores or --run.threads say, else as all of the runs can have.
Starts find_starts(const ScaleArguments& a, const ThisMachine& machine, const Variables& variables);

/// UserError (usage) before the first run for what trireme launch would refuse in each.
void check_start(const ScaleArguments& a, const Starts& starts, const Variables& variables);

/// Leaves out points that cannot be started, and marks those with more ranks than cores or GPUs.
void apply_starts(const Starts& starts, std::vector<Point>& points);

/// The options of trireme launch.
std::vector<std::string> launch_words(const ScaleArguments& a);

}  // namespace trireme::launch

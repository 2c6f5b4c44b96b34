// Runs the points of a series, one run at a time, each by trireme launch.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "launch/scale/series_store.h"
#include "launch/start/variables.h"

namespace trireme::launch {

struct SeriesRuns {
  std::vector<Point> points;  ///< those that are left out are not run
  int repeats = 3;
  int64_t warmup = 0;
  std::string program;                   ///< this one's file
  std::vector<std::string> start;        ///< options of trireme launch
  std::vector<std::string> run_options;  ///< of trireme train, behind those of the point
  bool submits = false;                  ///< a job of Slurm for each run
  std::vector<std::string> slurm = {};   ///< more options of sbatch
  Variables variables;
};

/// The command of a run, whose run directory is `directory`. A job of Slurm gets a name by which it is found
/// again, and writes what it prints to DIRECTORY.job.log.
std::vector<std::string> run_command(const SeriesRuns& runs, const Point& point,
                                     const std::string& directory);

/// The name of the job of Slurm of a run directory, the same whenever it is asked for.
std::string job_name_of(const std::string& directory);

struct SeriesEnd {
  int signal = 0;                    ///< the request to stop that ended it; 0: none
  bool was_cut = false;              ///< by a second one
  std::vector<RunOutcome> outcomes;  ///< of this call and those before
};

/// Makes the runs that the store lacks: the first repeat of all points, then the second, so that a drift of
/// the machine meets all points alike. Runs that failed in an earlier call are made again. A run that fails
/// is recorded, and the next one begins. One that a request to stop ends counts as not made. A line for each
/// run goes to `out`, with the time left as the runs so far took.
SeriesEnd run_series(const SeriesRuns& runs, const SeriesStore& store, std::FILE* out);

}  // namespace trireme::launch

// Runs the command that starts a job: passes on requests to stop, and leaves no process behind.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/start/launcher_output.h"
#include "launch/start/variables.h"

namespace trireme::launch {

struct SupervisedJob {
  std::vector<std::string> command;
  Variables variables;  ///< of the command
  std::string program;  ///< the file that ranks run: they are found by it on this host
  int num_local_ranks =
      0;  ///< ranks on this host beside the command; 0: the command is the rank, or not known
  std::string mark =
      {};  ///< "NAME=VALUE" in the environment of ranks; empty: they are in the command's session
  std::string output = {};  ///< a file that what it prints is added to; empty: this process's own outputs
  std::string asker = "trireme launch";  ///< who says that ranks are told to stop
};

struct SupervisedEnd {
  int code = 0;    ///< of the command, of srun's first task that ended; 128 + signal where one ended it; 75
                   ///< where it was asked to stop and did
  int signal = 0;  ///< the first request to stop; 0: none came
  bool was_cut = false;    ///< a second request ended it
  bool has_error = false;  ///< a rank has said why it failed
  std::optional<RankFailure> failure;
};

/// From here on requests to stop are noted for supervise(), which starts nothing where one came before. The
/// first that a process does which will supervise.
void note_stop_requests();

/// Runs the command until it ends, in a session of its own, so that a terminal's Ctrl-C reaches this process
/// alone; its input is /dev/null. HUP, INT, TERM, USR1 or USR2 to this process: the command gets one USR1,
/// which launchers pass on to all ranks, as soon as these can take it (looking for ranks of this host, ten
/// seconds at most). A second one ends all at once. The command is sent TERM when this process dies, however
/// it does, and what is left of its session when it ends is killed. Standard error passes LauncherOutput.
/// EnvironmentError where the command cannot be started, or `output` cannot be opened. Called by the main
/// thread, for one job after the other: after a request to stop no further one is started.
SupervisedEnd supervise(const SupervisedJob& job);

}  // namespace trireme::launch

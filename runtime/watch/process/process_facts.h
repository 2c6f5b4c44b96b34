// What the kernel says of processes of this host.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/io/files/file.h"

namespace trireme::watch {

struct ProcessState {
  bool is_there = false;  ///< and no zombie
  char state = '?';       ///< of its main thread, as in /proc: R, S, D, T (stopped), t (by a debugger), Z
  int64_t start_time = 0;
};
/// Of process `pid`; one that began at another time than `start_time` (0: any) is another.
ProcessState process_state(int pid, int64_t start_time);
/// "stopped by a signal".
std::string describe(const ProcessState& state);

/// The file in which the control group of this process counts those of its processes that were killed for
/// memory (versions 1 and 2); empty: none.
std::string memory_events_file();
/// What such a file has counted; 0 where it cannot be read.
int64_t memory_kills(const std::string& file);

/// The process that has started this one as a rank: the nearest ancestor that is a launcher of MPI or Slurm.
struct Launcher {
  int pid = 0;  ///< 0: there is none
  std::string name;
  bool is_of_mpi = false;  ///< it is the job's alone, and not the cluster's
  FileDescriptor handle;   ///< can be read when it has ended; -1: the kernel has no such thing
};
Launcher find_launcher();

/// Kills process `pid` that began at `start_time`; false where there is no such.
bool kill_process(int pid, int64_t start_time);

/// Raises the soft limit of open files to the hard one where it is below `needed`.
void allow_open_files(int64_t needed);

}  // namespace trireme::watch

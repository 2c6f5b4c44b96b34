// The spin time of waiting OpenMP threads.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "launch/preflight/thread_advice.h"

namespace trireme::launch {

/// Rounds of libgomp's waiting loop before a thread sleeps (GOMP_SPINCOUNT): none where threads take turns on
/// cores, since a spinning thread keeps the others from their work; else about as long as waking takes, which
/// costs at most twice what the better of both would, or with `has_short_passes`, as generation has, so long
/// that threads stay awake from op to op. `pause_seconds` is what a round takes.
int64_t spin_rounds(const CoresGiven& cores, int local_ranks, int threads, bool has_short_passes,
                    double pause_seconds);

/// The threads that the arguments of `trireme train` or `trireme generate` ask for a rank, or their
/// configuration file does; 0: none is named. Errors are left to whoever reads them later.
int named_threads(std::span<const std::string> args);

/// Ranks of this host by the variables of mpirun or Slurm; 1 where there are none.
int launched_local_ranks();

/// To be called before anything else: where this process is going to compute on several threads and the user
/// has set neither OMP_WAIT_POLICY nor GOMP_SPINCOUNT, starts the program again in this process with
/// GOMP_SPINCOUNT, which libgomp reads when it is loaded and never again. Where that is refused the run
/// continues as it was.
void bound_spinning(char** argv);

}  // namespace trireme::launch

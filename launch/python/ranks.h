// The ranks that mpirun started, or this process alone.
#pragma once

#include <memory>
#include <optional>

#include "launch/commands/commands.h"
#include "runtime/comm/mpi/mpi_environment.h"

namespace trireme::launch::python {

/// MPI of this process, from the first call that needs it to the end of the interpreter. Runs and models hold
/// one, so that it outlives them.
class Ranks {
 public:
  /// Starts MPI where a launcher started this process, or joins what mpi4py has started. UserError as
  /// check_launcher() has.
  Ranks();

  int rank() const { return mpi_ ? mpi_->rank() : 0; }
  int size() const { return mpi_ ? mpi_->size() : 1; }
  RankPlace place() const;
  /// Whether every rank comes with the same words within some seconds (MpiEnvironment::meet).
  bool is_of_all(const std::string& words) const;

 private:
  std::optional<MpiEnvironment> mpi_;
};

}  // namespace trireme::launch::python

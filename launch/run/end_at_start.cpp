#include "launch/run/end_at_start.h"

#include <cstdio>
#include <string>

#include <fmt/format.h>

#include "launch/checkpoint/restarts.h"
#include "launch/report/files/run_directory.h"
#include "launch/run/run_paths.h"
#include "runtime/base/error.h"
#include "runtime/comm/mpi/mpi_environment.h"

namespace trireme::launch {

EndAtStart end_at_start(const RunConfig& config, int rank, const RunLog* log) {
  if (!config.checkpoint.is_on()) return {};
  const std::string counted =
      counts_restarts(config) ? checkpoints_path_of(config, wanted_directory(config)) : "";
  return [rank, log, resumes = config.resumes(), counted](int signal) {
    if (!counted.empty()) excuse_restart(counted);
    const std::string line =
        fmt::format("trireme: {}ended by {} before the first step: there is nothing to save. {}\n",
                    rank == 0 ? "" : fmt::format("rank {}: ", rank), signal_name(signal),
                    resumes ? "The same command resumes from the newest checkpoint, or starts again"
                            : "The same command starts again");
    std::fputs(("\n" + line).c_str(), stderr);
    if (log != nullptr) log->append(line);
    MpiEnvironment::abort(ExitCode::resumable);
  };
}

}  // namespace trireme::launch

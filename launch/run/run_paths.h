// Where the checkpoints of a run lie.
#pragma once

#include <filesystem>
#include <string>

#include "launch/config/run_config.h"

namespace trireme::launch {

/// --checkpoint.dir, or the folder of the run's directory.
inline std::string checkpoints_path_of(const RunConfig& config, const std::filesystem::path& run_directory) {
  return config.checkpoint.dir.empty() ? (run_directory / "checkpoints").string() : config.checkpoint.dir;
}

/// Whether a start counts its restarts: it saves checkpoints, and finds the one to go on from itself.
inline bool counts_restarts(const RunConfig& config) {
  return config.checkpoint.is_on() && (config.run.resume == "auto" || config.run.resume == "must");
}

}  // namespace trireme::launch

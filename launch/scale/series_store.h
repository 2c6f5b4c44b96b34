// The directory of a series: what is measured, and how each run ended, so that an interrupted series goes on.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "launch/scale/summary.h"
#include "runtime/io/files/directory_lock.h"

namespace trireme::launch {

/// Where a run goes: "DIR/runs/003-ranks2-repeat1". Point and repeat count from 0.
std::string run_directory(const std::string& directory, size_t point, int ranks, int repeat);

/// series.json has the identity, ended.jsonl a line for each run that has ended, runs/NAME its run directory
/// and runs/NAME.log what it has printed.
class SeriesStore {
 public:
  /// Creates the directory, or goes on in it. `identity` is an object whose members make the series what it
  /// is. UserError (usage) that names the first of them that differs where the directory has another's, or
  /// that of something else; or who works in it. EnvironmentError where it cannot be written.
  SeriesStore(std::string directory, const nlohmann::ordered_json& identity);

  const std::string& directory() const { return directory_; }

  /// How the runs ended, each as it did last; those of the same point in the order of their repeats. Runs
  /// that ended well have their measurement, read anew; those whose files are gone count as not made.
  std::vector<RunOutcome> outcomes(const std::vector<Point>& points, int64_t warmup) const;
  /// Adds one: on the disk when it returns.
  void add(const RunOutcome& outcome) const;

 private:
  std::string directory_;
  DirectoryLock lock_;
};

}  // namespace trireme::launch

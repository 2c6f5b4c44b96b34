// trireme doctor: measures what a run depends on, and judges it.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "launch/config/run_config.h"
#include "launch/doctor/finding.h"
#include "launch/doctor/rank_facts.h"
#include "runtime/comm/communicator.h"

namespace trireme::launch {

struct DoctorOptions {
  std::set<std::string, std::less<>> only;  ///< check_names(); empty: all
  ParallelPlan plan;                        ///< resolved
  RunOptions run;                           ///< device, backend, share_device, threads
  std::string directory = ".";              ///< where runs are to be
  std::string temporary = "/tmp";
  int64_t disk_bytes = int64_t{64} << 20;  ///< written for the rates of a directory
  int64_t traffic_bytes = 0;               ///< of long messages; 0: 4 MiB on the CPU, 64 MiB on GPUs
  double seconds = 60;                     ///< that a check may take

  bool wants(std::string_view check) const { return only.empty() || only.contains(check); }
};

/// What a process knows of its place in the job before it speaks with others.
struct DoctorPlace {
  std::string host;
  int local_rank = 0, local_size = 1;
  TextByName build;      ///< what ranks must agree on
  std::string launcher;  ///< as in MpiFacts
  std::string pmix;
};

struct Examination {
  std::vector<RankFacts> ranks;
  std::vector<SharedFacts> shared;
  std::vector<ClockFacts> clocks;
  std::vector<AxisFacts> axes;
  std::vector<LinkFacts> links;
  std::vector<Finding> findings;  ///< in the order of check_names()

  Verdict verdict() const { return worst_of(findings); }
};

/// How the job was started, by the variables that launchers set.
DoctorPlace place_by_environment();

/// Every rank of `world`, whose tensors lie on the host, calls it with equal options. The examination is
/// whole on rank 0; others have its findings' worst in `findings`. A check that takes too long ends the job
/// (CheckTimer).
Examination examine(Communicator& world, const DoctorPlace& place, const DoctorOptions& options);

}  // namespace trireme::launch

// How much processor time the control groups of this process grant.
#pragma once

#include <filesystem>
#include <string>

namespace trireme::cpu {

struct CpuQuota {
  double cores = 0;   ///< seconds of processor time a second; 0: no limit
  std::string group;  ///< the control group that sets it: "/jobs/job_7"
};

/// The tightest limit of the control groups (versions 1 and 2, every level) that this process is in. `root`
/// has proc/ and sys/.
CpuQuota cpu_quota(const std::filesystem::path& root = "/");

}  // namespace trireme::cpu

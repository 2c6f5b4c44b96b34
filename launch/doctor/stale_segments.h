// What processes that have died left in shared memory.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "launch/doctor/rank_facts.h"

namespace trireme::launch {

/// Whether a file of this name in /dev/shm is a segment that MPI, PSM2 or NCCL made, or a POSIX semaphore.
bool is_segment_name(std::string_view name);

/// Those segments in `folder` that no process of `proc` has mapped or open. Only what this user may look into
/// is judged: files of its own, or all where it is root and may read every process.
std::vector<StaleSegment> stale_segments(const std::filesystem::path& folder = "/dev/shm",
                                         const std::filesystem::path& proc = "/proc");

}  // namespace trireme::launch

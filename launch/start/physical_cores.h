// The cores of this machine, without hyperthreads: what launchers bind ranks to.
#pragma once

#include <string>
#include <vector>

namespace trireme::launch {

/// "0-3,8" as 0, 1, 2, 3, 8; what cannot be read ends the list.
std::vector<int> parse_cpu_list(const std::string& list);

/// How many different cores the processors of this process's affinity mask belong to, as `sysfs`
/// (/sys/devices/system/cpu) says; the processors themselves where it says nothing. At least 1.
int num_physical_cores(const std::string& sysfs = "/sys/devices/system/cpu");

}  // namespace trireme::launch

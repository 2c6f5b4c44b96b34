// The hosts of a job, as people write them: h1:4,h2:4, or a host file of Open MPI.
#pragma once

#include <string>
#include <vector>

namespace trireme::launch {

struct HostSlots {
  std::string name;
  int slots = 0;  ///< ranks that may run there; 0: it is not said

  friend bool operator==(const HostSlots&, const HostSlots&) = default;
};

/// "h1:4,h2": hosts in the order of their ranks. UserError (usage) that shows the part that is none; a host
/// that is there twice is an error too.
std::vector<HostSlots> parse_host_list(const std::string& list);

/// A host file: one host a line, "h1 slots=4" as Open MPI has it, or "h1:4"; # begins a comment. UserError
/// (bad_input) that names file and line.
std::vector<HostSlots> read_host_file(const std::string& path);

/// The file where there is one of that name, else the list.
std::vector<HostSlots> read_hosts(const std::string& file_or_list);

}  // namespace trireme::launch

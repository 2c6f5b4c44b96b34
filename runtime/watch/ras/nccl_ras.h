// What NCCL's own watch says: a second witness, from NCCL 2.24 on.
#pragma once

#include <string>
#include <vector>

namespace trireme::watch {

/// Where the RAS of NCCL listens in this process: NCCL_RAS_ADDR, else localhost:28028; empty where it is off
/// (NCCL_RAS_ENABLE=0).
std::string ras_address();

/// Asks it ("verbose status") and waits `seconds` at most. Its lines of errors and warnings, or else its
/// summary, no more than a screen has room for; one line that says why where it does not answer.
std::vector<std::string> ask_ras(const std::string& address, double seconds);

}  // namespace trireme::watch

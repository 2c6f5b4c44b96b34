// Processes of this host, as /proc shows them.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

namespace trireme::launch {

/// The processes of a session, ascending; zombies are none.
std::vector<pid_t> processes_of_session(pid_t session);

/// The processes that have the variable: "NAME=VALUE", as it was when their programs began. Those of other
/// users are left out.
std::vector<pid_t> processes_with(const std::string& variable);

/// Whether a process runs the program file (any, where that is empty).
bool runs_program(pid_t process, const std::string& program);

/// Whether it has a handler for a signal, or some thread of it blocks the signal until there is one.
bool takes_signal(pid_t process, int signal);

}  // namespace trireme::launch

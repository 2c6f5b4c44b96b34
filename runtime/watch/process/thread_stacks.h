// The call stacks of this process's own threads.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/watch/rank_report.h"

namespace trireme::watch {

/// By which threads are asked.
int stack_signal();

/// Once, while the process is well: what a handler of a signal may not load.
void prepare_stacks();

/// All threads but the one that calls, the main thread first; at most 64. Each is interrupted by a real-time
/// signal and looks at its own stack. A handler's frame may overwrite what a thread computes
/// (docs/reliability.md), so this is for processes that are about to end. Waits `seconds` at most.
std::vector<ThreadStack> all_stacks(double seconds);

/// "function (library)", without parameters; an address in its file where no name is known.
std::string frame_text(void* address);
std::vector<std::string> frame_texts(std::span<void* const> addresses);

/// Whether a thread with these frames is in a call of a communicator.
bool is_in_communication(const std::vector<std::string>& frames);

}  // namespace trireme::watch

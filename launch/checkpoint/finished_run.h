// The mark of a finished run, which is not run again.
#pragma once

#include <cstdint>
#include <string>

namespace trireme::launch {

/// Marks that the run in the directory has done this many steps and its weights are there. EnvironmentError
/// where that cannot be written.
void mark_finished(const std::string& run_directory, int64_t steps);
/// How many the mark names; -1 where there is none that can be read.
int64_t finished_steps(const std::string& run_directory);
void remove_finished_mark(const std::string& run_directory);

}  // namespace trireme::launch

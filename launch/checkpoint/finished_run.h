// A run that has done all its steps is not done again.
#pragma once

#include <cstdint>
#include <string>

namespace trireme {

/// Marks that the run in the directory has done so many steps and its weights are there. EnvironmentError
/// where that cannot be written.
void mark_finished(const std::string& run_directory, int64_t steps);
/// How many the mark names; -1 where there is none that can be read.
int64_t finished_steps(const std::string& run_directory);
void remove_finished_mark(const std::string& run_directory);

}  // namespace trireme

// Truncates the records of a resumed run to the step it resumes from.
#pragma once

#include <cstdint>
#include <filesystem>

namespace trireme::launch {

/// Takes the lines of steps after `step`, and half a line at the end, out of metrics.jsonl or
/// ranks.jsonl. A file that is not there is left so. EnvironmentError where it cannot be written; it is then
/// as it was.
void keep_records_up_to(const std::filesystem::path& file, int64_t step);

/// The same of events.jsonl, but that what belongs to an attempt (is_of_attempt) stays.
void keep_happenings_up_to(const std::filesystem::path& events, int64_t step);

/// The same of the TensorBoard events of all attempts in a run directory. Files that are no event files are
/// left alone.
void keep_events_up_to(const std::filesystem::path& directory, int64_t step);

/// Gives config.ini of the attempt before a number, config.1.ini being the first's.
void number_config(const std::filesystem::path& directory);

}  // namespace trireme::launch

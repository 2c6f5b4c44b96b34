// Reads the directory of a run for a report.
#pragma once

#include <string>
#include <vector>

#include "launch/run_report/run_data.h"

namespace trireme::launch {

/// Reads metrics.jsonl, events.jsonl, ranks.jsonl, profile.json and config*.ini of a directory. Files that
/// are missing are absences, what is damaged in them is told in RunData::problems. UserError(bad_input) where
/// `path` is no directory, or has no metrics.jsonl.
RunData read_run(const std::string& path);

/// In that order, with names that differ.
std::vector<RunData> read_runs(const std::vector<std::string>& paths);

// Parts of it, of the text of a file. `most_points` bounds what loads and rank times keep of it.
void read_metrics(std::string text, RunData& run);
void read_events(std::string text, RunData& run);
void read_ranks(std::string text, RunData& run);
/// A trace in Chrome's format, one row per process.
void read_profile(const std::string& text, RunData& run);
/// Of another config.ini: what `after` has otherwise, sorted by key.
std::vector<std::string> config_differences(const std::map<std::string, std::string>& before,
                                            const std::map<std::string, std::string>& after);

}  // namespace trireme::launch

// The results of a series as a table on the terminal, CSV and JSON.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "launch/scale/summary.h"

namespace trireme::launch {

/// What a series was made with: shown beside the results, in this order ("processor", "...").
using SeriesFacts = std::vector<std::pair<std::string, std::string>>;

/// Columns and rows of texts.
struct TextTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
};
/// Columns as wide as their texts, flush right but for the last; no blanks at the end of lines.
std::string aligned(const TextTable& table);

/// The parts that some point spends 0.05 % of a step on or more, in the order in which steps have them.
std::vector<std::string> shown_parts(const SeriesResult& series);
/// "exposed data" of "exposed.data".
std::string part_name(const std::string& key);

/// Speed, efficiency, MFU and memory of each point.
TextTable speed_table(const SeriesResult& series);
/// Where a step goes, in per cent: a column for each of shown_parts(), and the sum of all. No rows where no
/// run has a breakdown.
TextTable share_table(const SeriesResult& series);
/// The fit of each line of points.
TextTable fit_table(const SeriesResult& series);
/// Points that are not run, and those with failed runs, each with its reason.
TextTable left_out_table(const SeriesResult& series);
TextTable failure_table(const SeriesResult& series);
/// What must not be overlooked: more ranks than cores, an unsure MFU, runs that are missing. Empty: nothing.
std::vector<std::string> warnings_of(const SeriesResult& series);
/// "Amdahl's law, strong scaling" with its formula.
std::string law_text(ScaleMode mode);

std::string terminal_report(const SeriesResult& series, const SeriesFacts& facts);
/// A row for each point (RFC 4180), numbers unrounded; bytes, milliseconds and shares.
std::string csv_report(const SeriesResult& series);
/// All of it, with every run. What is not finite is null.
std::string json_report(const SeriesResult& series, const SeriesFacts& facts,
                        const std::vector<RunOutcome>& outcomes);

}  // namespace trireme::launch

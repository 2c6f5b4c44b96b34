// What the sections of a report share.
#pragma once

#include <cstddef>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "launch/page/page.h"
#include "launch/run_report/run_data.h"

namespace trireme::launch {

constexpr double kNoValue = std::numeric_limits<double>::quiet_NaN();

/// The axis of positions, thinned: by step, tokens and hours.
ChartAxis axis_of_positions(const Positions& positions, size_t per_point = 1);

/// A heading, and what `add` adds for each run that `has` it, under its name where there are several runs;
/// else the note `absent`, where it is not empty.
void add_by_run(Page& page, const std::vector<RunData>& runs, const std::string& heading,
                const std::function<bool(const RunData&)>& has, const std::string& absent,
                const std::function<void(const RunData&)>& add);

/// "Each point stands for 100 steps: their mean, and their range as a band." Empty where it is one step.
std::string thinned_note(size_t per_point, const char* what);

// Of a column: its values that are finite, and of these the last, the least and the median; NaN where it has
// none.
std::vector<double> finite_values(const RecordTable& columns, const std::string& key);
double last_value(const RecordTable& columns, const std::string& key);
double least_value(const RecordTable& columns, const std::string& key);
double median_value(const RecordTable& columns, const std::string& key);
/// Text made of a number, or "–" for NaN.
std::string or_dash(double value, const std::function<std::string(double)>& text);

}  // namespace trireme::launch

// Timelines of pipeline schedules as text and as SVG.
#pragma once

#include <string>

#include "parallel/pipeline/schedule.h"
#include "parallel/pipeline/simulate.h"

namespace trireme::launch {

/// "1f1b: 4 stages, 8 micro-batches".
std::string title_of(const Schedule& schedule);

/// A row a stage, time from left to right, blank where it waits; bands below each other where the time is too
/// long for one row.
std::string timeline_text(const Schedule& schedule, const Timeline& timeline);

/// A complete SVG document: a row a stage, legend, time axis, bubble and peak activations of each stage.
std::string timeline_svg(const Schedule& schedule, const Timeline& timeline);

}  // namespace trireme::launch

// The page of `trireme report`: one run in detail, or several over one another.
#pragma once

#include <string>
#include <vector>

#include "launch/page/page.h"
#include "launch/run_report/run_data.h"

namespace trireme::launch {

struct ReportOptions {
  std::string title;     ///< empty: the names of the runs
  double smoothing = 0;  ///< where the slider stands at first
};

/// Equal runs make equal pages. What a run does not have is absent, with a word where people would look for
/// it.
Page report_page(const std::vector<RunData>& runs, const ReportOptions& options);

// Its sections.
void add_summary(Page& page, const std::vector<RunData>& runs);
void add_curves(Page& page, const std::vector<RunData>& runs);
void add_time_and_memory(Page& page, const std::vector<RunData>& runs);
void add_experts(Page& page, const std::vector<RunData>& runs);
void add_ranks(Page& page, const std::vector<RunData>& runs);
void add_timelines(Page& page, const std::vector<RunData>& runs);
void add_events(Page& page, const std::vector<RunData>& runs);
void add_samples(Page& page, const std::vector<RunData>& runs);
void add_configs(Page& page, const std::vector<RunData>& runs);

}  // namespace trireme::launch

// The results of a series as a page.
#pragma once

#include <string>

#include "launch/scale/tables.h"

namespace trireme::launch {

/// A self-contained HTML document (launch/page): advice, warnings, throughput and efficiency over rank
/// counts, where steps go, memory, fits, what was left out and what failed.
std::string html_report(const SeriesResult& series, const SeriesFacts& facts);

}  // namespace trireme::launch

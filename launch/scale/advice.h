// What would help a series most, in one sentence with its figure.
#pragma once

#include <string>

#include "launch/scale/summary.h"

namespace trireme::launch {

/// Of one point: the part that loses most against the baseline; of the baseline itself, or where nothing is
/// lost beyond the spread of the repeats, that is said instead. If the part were gone, throughput would rise
/// by lost / (1 - lost): "at most", since other parts may take its place.
std::string advice_for(const Point& point, const PointResult& result, const PointResult& baseline);

/// For each group its point of the most ranks, of these the fastest; those with more ranks than cores only
/// where there are no others beside the baseline. A line for each group.
std::string advice_for(const SeriesResult& series);

}  // namespace trireme::launch

// Short training runs in every kind of layout, on the tests' device.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "tests/support/layout_run.h"

namespace trireme::test {

struct TrainingCase {
  std::string name;
  int ranks;
  LayoutRun run;
};
inline void PrintTo(const TrainingCase& c, std::ostream* out) { *out << c.name; }

/// Two steps of a tiny model on test_device(), with unequal targets and small buckets.
TrainingCase make_training_case(const std::string& name, ModelFamily family, int ranks,
                                const ParallelPlan& plan, const std::function<void(LayoutRun&)>& change = {});

std::vector<TrainingCase> training_cases();

}  // namespace trireme::test

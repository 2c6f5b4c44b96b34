// How far two runs lie apart, and how far they may.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/support/layout_run.h"

namespace trireme::test {

/// Relative differences of two runs, or the largest that are allowed.
struct RunDifferences {
  double gradients = 0;  ///< of the first step
  std::string worst_gradient;
  std::vector<double> losses, aux_losses, z_losses, norms;  ///< one a step
  std::map<std::string, double> weights;                    ///< after the last step, of each parameter
};

RunDifferences differences(const LayoutResult& a, const LayoutResult& b);
/// What a tolerance allows runs of as many steps and parameters.
RunDifferences allowed(const Tolerance& tolerance, const RunDifferences& of);
/// Allows `factor` times what `drift` has come to by each step, where that is more.
void widen(RunDifferences& most, const RunDifferences& drift, double factor);
/// Allows no more than `bound` of anything.
void bound(RunDifferences& most, double bound);
/// What of `d` is more than allowed, a line each.
std::string beyond(const RunDifferences& d, const RunDifferences& most);

/// As expect_follows(); but a run may amplify rounding (soft caps near saturation do, by a thousand in a
/// step), and then no layout follows one rank any closer than one rank follows itself. Where the result is
/// out of the tolerance `of_one`, of which `one` is the result, runs three more times with its first weights
/// moved by units in the last place, and each number may differ by four times the most that those have
/// differed by until then, but by no more than a tenth.
void expect_follows_or_drifts(const LayoutResult& result, const LayoutResult& one, LayoutRun of_one);

}  // namespace trireme::test

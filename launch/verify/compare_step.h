// Compares a step of a layout with the same step of one rank.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launch/verify/reference.h"

namespace trireme::launch {

/// How much of what rounding makes of one rank a layout may differ by.
struct Tolerance {
  /// Multiples of the distance of Reference's two runs; of what that is beyond `unsure`, five times as much
  /// for gradients: some of them cancel out, and then one rounding is no measure of the next.
  double multiple, multiple_of_gradients, unsure;
  double passes, gradients, loss;  ///< what is added, relative
};
/// By the type that is computed in.
Tolerance tolerance_of(const RunConfig& config);

/// |a - b| / |b| of something, and how much of that rounding explains.
struct Difference {
  double distance = 0, bound = 0;
  std::string where;

  bool is_beyond() const { return !(distance <= bound); }
  /// By how much it comes closer to its bound, or is further beyond it.
  double share() const { return distance / bound; }
};

struct StepDifference {
  Difference loss, passes,
      gradients;      ///< of the last two that which is nearest to its bound, or furthest beyond
  double widest = 0;  ///< of the bounds of what passes between layers
  double norm = 0;    ///< relative: the layout's norm, and that of its own gradients
  ChoiceDifferences choices;
  int64_t num_gradients = 0,
          num_noise = 0;            ///< tensors, and those of which rounding explains a tenth or more
  double finest = 0, coarsest = 0;  ///< relative bounds of the gradients but for these
  bool is_finite = true;            ///< false: on both sides it is not
  /// Empty where rounding explains all. Else sentences that say where they part, in the order of execution.
  std::vector<std::string> errors;
};

StepDifference compare_step(const RecordedStep& layout, const ReferenceStep& reference,
                            const RunConfig& config);

}  // namespace trireme::launch

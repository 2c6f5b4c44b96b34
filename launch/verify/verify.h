// Does a layout train as one rank does?
#pragma once

#include <cstdio>
#include <optional>
#include <string>

#include "launch/verify/layout_run.h"

namespace trireme {

/// How far apart two layouts may be, relative.
struct Tolerances {
  double gradients;  ///< of the first step, a tensor: largest difference over largest value
  double losses;
  double norms;  ///< of the first step
  double later;  ///< gradients and norms of later steps, and the last weights, as |a - b| / |b| of a tensor
};

/// fp32: 1e-5, later 1e-4 (AdamW makes of a small gradient as large a step as of others, and of its
/// rounding). 16-bit types: what their rounding explains.
Tolerances tolerances(DType precision);

/// The largest difference of a set of tensors.
struct TensorDifference {
  double relative = 0;
  std::string tensor;
};

/// What is compared of one step.
struct StepDifference {
  double loss = 0, grad_norm = 0;  ///< relative
  TensorDifference gradients;
  std::optional<size_t> trace;  ///< first entry, in the order of execution, that is not the same
};

struct LayoutDifference {
  std::vector<StepDifference> steps;
  TensorDifference weights;
  /// Empty where the layout follows one rank. Else what is beyond its tolerance, and the first place that is
  /// not the same, one sentence each.
  std::vector<std::string> faults;
};

LayoutDifference compare(const LayoutRecord& layout, const LayoutRecord& one, const RunConfig& config);

/// Runs a resolved layout and one rank on this rank's `device`, prints a line a step and the verdict on rank
/// 0. Every rank of `world` calls it; a single rank stands for all of a larger layout, which then are
/// threads. Throws UserError (numerics) where the layout does not follow.
void verify(const RunConfig& config, Communicator& world, Device device, std::FILE* out);

}  // namespace trireme

// GPTQ (arXiv 2210.17323) as rounding with linear feedback, which gives the same numbers (arXiv 2307.13304,
// theorem 6): with H = R R^T, R upper triangular, column i is rounded from w_i + (sum over k < i of (w_k -
// q_k) R[k,i]) / R[i,i]. No inverse is needed.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/ops/compress/round_groups.h"

namespace trireme::ops {

struct FeedbackRounding {
  std::span<const float> w;        ///< [outputs, inputs], finite
  std::span<const int32_t> order;  ///< the inputs in the order in which they are rounded
  std::span<const uint8_t> dead;   ///< inputs that become zero
  GroupsOfInputs groups;
  /// Scales are those in the result already; else each group's, whose inputs stand together in `order`, come
  /// from its weights when its first is reached, moved by the errors before it.
  bool has_scales = false;
  std::span<const QuadraticForm> forms;  ///< as in round_groups(), where scales are found here
  int64_t block = 128;                   ///< columns; whole groups where scales are found here
  bool keeps_zeros = false;              ///< weights that are zero become zero, and count so in ranges
};

struct FeedbackErrors {
  double output = 0;   ///< tr(D R R^T D^T) with D = W - W'
  double weights = 0;  ///< tr(D D^T)
};

/// Into `to`, which has spec and sizes.
FeedbackErrors round_with_feedback(Context& ctx, const FeedbackRounding& rounding,
                                   const HessianFactor& factor, CodedMatrix& to);

}  // namespace trireme::ops

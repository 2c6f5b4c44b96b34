// Rounding of whole rows in groups, with a search for scales that clip.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/ops/compress/hessian.h"
#include "runtime/ops/packed/coded_matrix.h"
#include "runtime/ops/packed/quantize_row.h"

namespace trireme::ops {

/// Which inputs of a matrix form its groups.
struct GroupsOfInputs {
  std::span<const int32_t> order;  ///< all inputs, those of a group next to one another
  int64_t size = 0;                ///< inputs of a group; the last may have fewer

  int64_t count() const { return ceil_of(std::ssize(order), size); }
  std::span<const int32_t> inputs_of(int64_t g) const {
    const auto begin = static_cast<size_t>(g * size);
    return order.subspan(begin, std::min(static_cast<size_t>(size), order.size() - begin));
  }
};

/// The code of a group of values (finite): by their range, or with a form (of H of the group's inputs) by
/// that of 1, 0.975, ..., 0.5 of the range whose rounding errors e have the least e H e^T.
GroupCode choose_code(const PackedSpec& spec, std::span<const float> values, const QuadraticForm* form);

/// w [outputs, inputs], finite, rounded to the nearest numbers of its groups, into `to`, which has spec and
/// sizes; `order` of `to` stays as it is. `forms`: one a group, or none. Inputs in `dead` (may be empty)
/// count as zero.
void round_groups(Context& ctx, std::span<const float> w, const GroupsOfInputs& groups,
                  std::span<const uint8_t> dead, std::span<const QuadraticForm> forms, CodedMatrix& to);

}  // namespace trireme::ops

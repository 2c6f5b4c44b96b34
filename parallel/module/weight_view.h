// WeightView: the weight matrix that a linear layer multiplies with.
#pragma once

#include <cstdint>

#include "runtime/tensor/tensor.h"

namespace trireme {

/// How the numbers of a matrix are stored.
enum class WeightFormat : uint8_t {
  plain,   ///< values are the numbers themselves, of a compute type; no scales
  float8,  ///< values are E4M3 codes, scales [1] f32 what one unit of them stands for
};

/// A weight matrix [outputs, inputs] in some format. It shares the memory of who holds it.
struct WeightView {
  Tensor values;
  Tensor scales = {};  ///< undefined where the format has none
  WeightFormat format = WeightFormat::plain;

  int64_t num_outputs() const { return values.dim(0); }
  int64_t num_inputs() const { return values.dim(1); }
};

}  // namespace trireme

// What calibration measures of the inputs of a linear layer: all that quantization needs of the data.
#pragma once

#include <cstdint>
#include <vector>

namespace trireme {

/// Of the rows x[inputs] that went through a matrix, over all ranks and micro-batches. Sums, so that parts
/// add up in any order and no batch counts for more than its tokens.
struct InputStatistics {
  int64_t inputs = 0;
  int64_t tokens = 0;              ///< rows
  std::vector<double> hessian;     ///< [inputs, inputs], symmetric: sum of x x^T (not divided)
  std::vector<double> magnitudes;  ///< [inputs]: sum of |x|
  std::vector<float> largest;      ///< [inputs]: largest |x|

  bool is_empty() const { return tokens == 0; }
};

}  // namespace trireme

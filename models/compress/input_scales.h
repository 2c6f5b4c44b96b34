// Scales of inputs that make quantization easier: AWQ (arXiv 2306.00978, equation 5) and SmoothQuant (arXiv
// 2211.10438, equation 4). x / s is what the layer before gives from then on, W * s what is quantized.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/compress/quantize_matrix.h"

namespace trireme {

enum class InputScaling : uint8_t { none, awq, smooth_quant };

/// A matrix that reads the scaled inputs.
struct ScaledMatrix {
  std::span<const float> w;  ///< [outputs, inputs]
  int64_t outputs;
  RoundingOptions rounding;  ///< how it will be quantized; AWQ tries with rounding to nearest
};

struct InputScales {
  std::vector<float> scales;           ///< [inputs], finite and above zero; ones where nothing was gained
  double strength = 0;                 ///< the exponent a that was chosen (AWQ) or given (SmoothQuant)
  double error = 0, error_before = 0;  ///< summed over the matrices, as RoundingReport::error without the
                                       ///< division
};

/// AWQ: s = m^a, m the mean |x|, a of 0, 1/20, ..., 19/20 with the least error of the outputs, normalised by
/// sqrt(largest * least). SmoothQuant: s = largest|x|^a / largest|w|^(1-a), a = `strength`. All matrices have
/// the same inputs and statistics. Dead and empty inputs get 1.
InputScales input_scales(Context& ctx, InputScaling method, std::span<const ScaledMatrix> matrices,
                         const InputStatistics& statistics, double strength = 0.5);

}  // namespace trireme

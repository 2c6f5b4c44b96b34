// The angles of rotary positions: frequencies as the scalings change them, and the factor of attention.
#pragma once

#include <cstdint>
#include <vector>

#include "models/spec/model_spec.h"

namespace trireme {

/// Radians a place, of each pair of dimensions i < dims / 2: theta^(-2i / dims) (arXiv 2104.09864, eq. 15),
/// scaled as the spec says. longrope has its short factors where sequences have up to the original positions,
/// else the long ones: `positions` is the longest sequence.
std::vector<double> rotary_frequencies(const RotarySpec& spec, int64_t positions);

/// What cosines and sines are multiplied by, so that scores are by its square. Given, or else of YaRN 0.1
/// ln(s) + 1 (arXiv 2309.00071, eq. 22), of longrope sqrt(1 + ln(s) / ln(original positions)) (arXiv
/// 2402.13753, section 3.2 as published models have it); 1 without these.
double rotary_attention_factor(const RotarySpec& spec);

}  // namespace trireme

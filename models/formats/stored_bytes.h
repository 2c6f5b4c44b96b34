// Numbers as files have them.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "runtime/tensor/dtype.h"

namespace trireme {

/// As f32, bf16 or f16, rounded to nearest even.
std::vector<std::byte> stored_bytes(std::span<const float> values, DType dtype);
float rounded_to(float value, DType dtype);

}  // namespace trireme

// int8 and int4 weights in groups: how numbers become codes, on the host, whatever the device of the weights.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "runtime/base/integers.h"
#include "runtime/ops/packed/packed_weight.h"

namespace trireme::ops {

/// Groups of a row of `inputs` numbers.
inline int64_t groups_of(const PackedSpec& spec, int64_t inputs) {
  return spec.group == 0 ? std::min<int64_t>(inputs, 1) : ceil_of(inputs, spec.group);
}

/// w[i] = scales[g] * (codes[i] - zeros[g]), with g the group of i.
struct CodedRow {
  std::span<uint8_t> codes;  ///< one an input: below 256, or below 16 for int4
  std::span<float> scales;   ///< one a group
  std::span<uint8_t> zeros;  ///< one a group; of symmetric ones 128 or 8
};

/// Codes of a row of int8 or int4. A scale is what the group's values need (largest magnitude / 127 or 7;
/// symmetric = false: the range of the values and 0, / 255 or 15), rounded up to bf16 and, unless all are
/// zero, to 2^-64: numbers lie less than 2^-7 further apart than they could, no value lies outside, and scale
/// * (code - zero) is exact in fp32. Errors are at most half a scale. Returns the first input that is not
/// finite, or -1; codes then stand for nothing.
int64_t quantize_row(const PackedSpec& spec, std::span<const float> values, const CodedRow& to);

/// What a value that is not finite throws: UserError (bad_input).
[[noreturn]] void refuse_value(const PackedSpec& spec, int64_t row, int64_t input, float value);

}  // namespace trireme::ops

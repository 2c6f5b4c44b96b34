// int8, int4 and fp8 weights in groups: how numbers become codes, on the host, whatever the device of the
// weights.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>

#include "runtime/base/float8.h"
#include "runtime/base/integers.h"
#include "runtime/ops/packed/packed_weight.h"

namespace trireme::ops {

/// Groups of a row of `inputs` numbers.
inline int64_t groups_of(const PackedSpec& spec, int64_t inputs) {
  return spec.group == 0 ? std::min<int64_t>(inputs, 1) : ceil_of(inputs, spec.group);
}

/// What the numbers of a group are coded with: scale * (code - zero), of fp8 scale * E4M3(code).
struct GroupCode {
  float scale = 0;
  float zero = 0;
};
/// The zero of symmetric codes.
inline float zero_of(const PackedSpec& spec) {
  return spec.format == PackedFormat::int8 ? 128.0f : spec.format == PackedFormat::int4 ? 8.0f : 0.0f;
}
/// The code of a group whose values lie between `least` <= 0 and `most` >= 0, by quantize_row()'s rule. Both
/// may be smaller than the values are: those beyond get the last code.
GroupCode group_code(const PackedSpec& spec, float least, float most);
/// The codes of the numbers that are nearest to `values` (no NaN).
void code_values(const PackedSpec& spec, const GroupCode& group, std::span<const float> values,
                 std::span<uint8_t> codes);
inline float value_of(const PackedSpec& spec, const GroupCode& group, uint8_t code) {
  fp8_e4m3 number;
  number.bits = code;
  const float steps =
      spec.format == PackedFormat::fp8 ? static_cast<float>(number) : static_cast<float>(code) - group.zero;
  return group.scale * steps;
}

/// w[i] = scales[g] * (codes[i] - zeros[g]), with g the group of i; of fp8 scales[0] * E4M3(codes[i]).
struct CodedRow {
  std::span<uint8_t> codes;  ///< one an input: below 256, or below 16 for int4
  std::span<float> scales;   ///< one a group
  std::span<uint8_t> zeros;  ///< one a group; of symmetric ones 128 or 8, of fp8 0
};
/// Fills a row of the matrices one below the other; called from several threads.
using ReadCodes = std::function<void(int64_t row, const CodedRow& to)>;
/// Gives `w`, of which all else is set, its data. Scales are numbers of the type w.scales.
void pack_codes(Context& ctx, PackedWeight& w, const ReadCodes& row);

/// Codes of a row of int8, int4 or fp8. A scale of fp8 is the least power of two, from 2^-64 on, that all
/// values fit with: at most 448 scales; values are rounded to nearest even. One of integers is what the
/// group's values need (largest magnitude / 127 or 7; symmetric = false: the range of the values and 0, / 255
/// or 15), rounded up to bf16 and, unless all are zero, to 2^-64: numbers lie less than 2^-7 further apart
/// than they could, no value lies outside, and scale * (code - zero) is exact in fp32. Errors are at most
/// half a scale (of fp8 2^-4 of the value, or 2^-10 scales). Returns the first input that is not finite, or
/// -1; codes then stand for nothing.
int64_t quantize_row(const PackedSpec& spec, std::span<const float> values, const CodedRow& to);

/// What a value that is not finite throws: UserError (bad_input).
[[noreturn]] void refuse_value(const PackedSpec& spec, int64_t row, int64_t input, float value);

}  // namespace trireme::ops

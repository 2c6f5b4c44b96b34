#include "runtime/ops/packed/quantize_row.h"

#include <bit>
#include <cmath>
#include <limits>

#include "runtime/base/float8.h"
#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops {

namespace {

struct Codes {
  explicit Codes(const PackedSpec& spec)
      : least(spec.symmetric ? 1.0f : 0.0f),
        middle(spec.format == PackedFormat::int8 ? 128.0f : 8.0f),
        top(2.0f * middle - 1.0f) {}
  float least, middle, top;
};

struct Range {
  float least, most;
  bool finite;
};

TRIREME_VECTORIZED Range range_of(const float* x, int64_t n) {
  float least = 0, most = 0;
  bool finite = true;
#pragma omp simd reduction(min : least) reduction(max : most) reduction(& : finite)
  for (int64_t i = 0; i < n; ++i) {
    least = x[i] < least ? x[i] : least;
    most = x[i] > most ? x[i] : most;
    finite &= std::fabs(x[i]) <= std::numeric_limits<float>::max();  // false for NaN
  }
  return {least, most, finite};
}

/// The next bf16 that is not below x >= 0; above zero at least 2^-64: kernels scale by powers of two,
/// exactly.
float scale_above(float x) {
  if (x == 0.0f) return 0.0f;
  return std::max(0x1p-64f, std::bit_cast<float>((std::bit_cast<uint32_t>(x) + 0xffffu) & 0xffff0000u));
}

TRIREME_VECTORIZED void code_group(const float* x, int64_t n, float scale, float zero, float least,
                                   float most, uint8_t* codes) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float code = std::nearbyint(x[i] / scale) + zero;
    codes[i] = static_cast<uint8_t>(static_cast<int32_t>(std::min(std::max(code, least), most)));
  }
}

TRIREME_VECTORIZED void code_floats(const float* x, int64_t n, float inverse, uint8_t* codes) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) codes[i] = fp8_e4m3::encode(x[i] * inverse);
}

/// The least power of two, from 2^-64 on, by which x >= 0 has a code.
float power_above(float x) {
  if (x == 0.0f) return 0.0f;
  const float most = fp8_e4m3(std::numeric_limits<float>::max());
  int exponent = 0;
  const float fraction = std::frexp(x / most, &exponent);  // in [1/2, 1)
  return std::max(0x1p-64f, std::ldexp(1.0f, fraction > 0.5f ? exponent : exponent - 1));
}

}  // namespace

GroupCode group_code(const PackedSpec& spec, float least, float most) {
  if (spec.format == PackedFormat::fp8) return {power_above(std::max(-least, most)), 0.0f};
  const Codes codes(spec);
  // The difference of the ends could exceed what fp32 holds.
  const float needed = spec.symmetric ? std::max(-least, most) / (codes.top - codes.middle)
                                      : most / codes.top - least / codes.top;
  const float scale = scale_above(needed);
  return {scale, spec.symmetric ? codes.middle : scale > 0 ? std::nearbyint(-least / scale) : 0.0f};
}

void code_values(const PackedSpec& spec, const GroupCode& group, std::span<const float> values,
                 std::span<uint8_t> codes) {
  const Codes range(spec);
  const auto n = std::ssize(values);
  if (spec.format == PackedFormat::fp8) {
    code_floats(values.data(), n, group.scale > 0 ? 1.0f / group.scale : 0.0f, codes.data());
  } else if (group.scale > 0) {
    code_group(values.data(), n, group.scale, group.zero, range.least, range.top, codes.data());
  } else {
    std::fill_n(codes.data(), n, static_cast<uint8_t>(group.zero));
  }
}

int64_t quantize_row(const PackedSpec& spec, std::span<const float> values, const CodedRow& to) {
  const auto inputs = static_cast<int64_t>(values.size());
  const int64_t group = spec.group == 0 ? std::max<int64_t>(inputs, 1) : spec.group;
  for (int64_t begin = 0, g = 0; begin < inputs; begin += group, ++g) {
    const auto at = static_cast<size_t>(begin), count = static_cast<size_t>(std::min(group, inputs - begin));
    const auto x = values.subspan(at, count);
    const Range range = range_of(x.data(), std::ssize(x));
    if (!range.finite) {
      return std::ranges::find_if_not(values, [](float v) { return std::isfinite(v); }) - values.begin();
    }
    const GroupCode code = group_code(spec, range.least, range.most);
    to.scales[static_cast<size_t>(g)] = code.scale;
    to.zeros[static_cast<size_t>(g)] = static_cast<uint8_t>(code.zero);
    code_values(spec, code, x, to.codes.subspan(at, count));
  }
  return -1;
}

void refuse_value(const PackedSpec& spec, int64_t row, int64_t input, float value) {
  throw_bad_input("row {} of the weights has {} at input {}: {} holds finite numbers alone", row, value,
                  input, to_string(spec));
}

}  // namespace trireme::ops

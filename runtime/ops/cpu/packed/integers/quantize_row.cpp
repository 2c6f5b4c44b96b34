#include "runtime/ops/packed/quantize_row.h"

#include <bit>
#include <cmath>
#include <limits>

#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops {

namespace {

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

}  // namespace

int64_t quantize_row(const PackedSpec& spec, std::span<const float> values, const CodedRow& to) {
  const auto inputs = static_cast<int64_t>(values.size());
  const int64_t group = spec.group == 0 ? std::max<int64_t>(inputs, 1) : spec.group;
  const bool wide = spec.format == PackedFormat::int8;
  const float middle = wide ? 128.0f : 8.0f, top = wide ? 255.0f : 15.0f;
  for (int64_t begin = 0, g = 0; begin < inputs; begin += group, ++g) {
    const int64_t count = std::min(group, inputs - begin);
    const float* x = values.data() + begin;
    uint8_t* codes = to.codes.data() + begin;
    const Range range = range_of(x, count);
    if (!range.finite) {
      return begin + (std::find_if_not(x, x + count, [](float v) { return std::isfinite(v); }) - x);
    }
    // The difference of the ends could exceed what fp32 holds.
    const float needed = spec.symmetric ? std::max(-range.least, range.most) / (top - middle)
                                        : range.most / top - range.least / top;
    const float scale = scale_above(needed);
    const float zero = spec.symmetric ? middle : scale > 0 ? std::nearbyint(-range.least / scale) : 0.0f;
    to.scales[static_cast<size_t>(g)] = scale;
    to.zeros[static_cast<size_t>(g)] = static_cast<uint8_t>(zero);
    if (scale > 0) {
      code_group(x, count, scale, zero, spec.symmetric ? 1.0f : 0.0f, top, codes);
    } else {
      std::fill_n(codes, count, static_cast<uint8_t>(zero));
    }
  }
  return -1;
}

void refuse_value(const PackedSpec& spec, int64_t row, int64_t input, float value) {
  throw_bad_input("row {} of the weights has {} at input {}: {} holds finite numbers alone", row, value,
                  input, to_string(spec));
}

}  // namespace trireme::ops

// Packed weights of drawn values, and every spec there is.
#pragma once

#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "runtime/base/philox.h"
#include "runtime/ops/packed/coded_matrix.h"
#include "runtime/ops/packed/packed_linear.h"
#include "runtime/ops/weight_blocks.h"

namespace trireme::test {

/// Of ggml's formats.
inline ops::BlockType block_type(ops::PackedFormat format) {
  return static_cast<ops::BlockType>(static_cast<int>(format) - static_cast<int>(ops::PackedFormat::q8_0));
}
inline bool is_stored_in_blocks(ops::PackedFormat format) {
  return ops::is_integer(format) && format <= ops::PackedFormat::q6_k;
}

inline std::vector<ops::PackedSpec> block_specs() {
  std::vector<ops::PackedSpec> specs;
  for (int f = static_cast<int>(ops::PackedFormat::q8_0); f <= static_cast<int>(ops::PackedFormat::q6_k); ++f)
    specs.push_back({static_cast<ops::PackedFormat>(f)});
  return specs;
}
inline std::vector<ops::PackedSpec> group_specs() {
  std::vector<ops::PackedSpec> specs;
  for (const auto format : {ops::PackedFormat::int8, ops::PackedFormat::int4}) {
    for (const int64_t group : {0, 32, 64, 128}) {
      for (const bool symmetric : {true, false}) specs.push_back({format, group, symmetric});
    }
  }
  return specs;
}
/// What matrices can be coded as.
inline std::vector<ops::PackedSpec> coded_specs() {
  auto specs = group_specs();
  specs.push_back({ops::PackedFormat::fp8});
  return specs;
}
inline std::vector<ops::PackedSpec> integer_specs() {
  auto specs = block_specs();
  for (const auto& spec : coded_specs()) specs.push_back(spec);
  return specs;
}

/// Small numbers drawn one after the other.
class Draws {
 public:
  explicit Draws(uint64_t seed) : seed_(seed) {}
  uint32_t bits() { return philox4x32(seed_, count_++, 0)[0]; }
  /// In [from, to].
  int64_t number(int64_t from, int64_t to) { return from + bits() % (to - from + 1); }
  float normal() { return philox_normal4(seed_, count_++, 1)[0]; }

 private:
  uint64_t seed_, count_ = 0;
};

/// Rows of ggml's blocks: any codes and factors, scales about `scale` of either sign.
inline std::vector<std::byte> drawn_blocks(ops::PackedFormat format, int64_t rows, int64_t inputs,
                                           Draws& draws, float scale = 0.01f) {
  const auto layout = ops::layout_of(block_type(format));
  std::vector<std::byte> bytes(static_cast<size_t>(rows * inputs / layout.elements * layout.bytes));
  for (auto& byte : bytes) byte = static_cast<std::byte>(draws.bits());
  const auto put = [&](size_t at) {
    const fp16 half(scale * draws.normal());
    std::memcpy(bytes.data() + at, &half.bits, 2);
  };
  for (size_t at = 0; at < bytes.size(); at += static_cast<size_t>(layout.bytes)) {
    put(format == ops::PackedFormat::q6_k ? at + 208 : at);
    if (format == ops::PackedFormat::q4_1 || format == ops::PackedFormat::q4_k) put(at + 2);
  }
  return bytes;
}

/// A weight of drawn values; ggml's formats need inputs of whole blocks.
inline ops::PackedWeight drawn_weight(Context& ctx, const ops::PackedSpec& spec, int64_t matrices,
                                      int64_t outputs, int64_t inputs, Draws& draws) {
  const int64_t rows = matrices * outputs;
  if (is_stored_in_blocks(spec.format)) {
    const auto bytes = drawn_blocks(spec.format, rows, inputs, draws);
    const size_t row_bytes = bytes.size() / static_cast<size_t>(rows);
    return ops::pack_stored(ctx, spec.format, matrices, outputs, inputs,
                            [&](int64_t row) { return bytes.data() + static_cast<size_t>(row) * row_bytes; });
  }
  std::vector<float> values(static_cast<size_t>(rows * inputs));
  for (auto& value : values) value = 0.05f * draws.normal() + 0.01f;
  return ops::pack_rows(ctx, spec, matrices, outputs, inputs, [&](int64_t row, std::span<float> to) {
    std::copy_n(values.begin() + row * inputs, inputs, to.begin());
  });
}

/// Scales of the kinds that files have.
enum class ScaleBits : uint8_t { bf16, fp16, f32 };

inline ops::CodedMatrix drawn_codes(const ops::PackedSpec& spec, int64_t outputs, int64_t inputs,
                                    ScaleBits bits, bool ordered, Draws& draws) {
  ops::CodedMatrix m{spec, outputs, inputs, {}, {}, {}, {}};
  const bool narrow = spec.format == ops::PackedFormat::int4;
  for (int64_t i = 0; i < outputs * inputs; ++i) {
    auto code = static_cast<uint8_t>(draws.number(0, narrow ? 15 : 255));
    if (spec.format == ops::PackedFormat::fp8 && (code & 0x7f) == 0x7f) code = 0x80;
    m.codes.push_back(code);
  }
  for (int64_t i = 0; i < outputs * m.groups(); ++i) {
    const float scale = 0.01f * draws.normal();
    m.scales.push_back(bits == ScaleBits::bf16   ? static_cast<float>(bf16(scale))
                       : bits == ScaleBits::fp16 ? static_cast<float>(fp16(scale))
                                                 : scale);
    // Of GPTQ's files a zero of four bits may be 16.
    if (!spec.symmetric) m.zeros.push_back(static_cast<uint8_t>(draws.number(0, narrow ? 16 : 255)));
  }
  if (!ordered) return m;
  m.order.resize(static_cast<size_t>(inputs));
  std::iota(m.order.begin(), m.order.end(), 0);
  for (size_t i = m.order.size() - 1; i > 0; --i) {
    std::swap(m.order[i], m.order[static_cast<size_t>(draws.number(0, static_cast<int64_t>(i)))]);
  }
  return m;
}

/// All its values, row by row.
inline std::vector<float> unpacked(Context& ctx, const ops::PackedWeight& w) {
  std::vector<float> values(static_cast<size_t>(w.rows() * w.inputs));
  for (int64_t r = 0; r < w.rows(); ++r) {
    ops::unpack_row(
        ctx, w, r,
        std::span(values).subspan(static_cast<size_t>(r * w.inputs), static_cast<size_t>(w.inputs)));
  }
  return values;
}

/// Inputs that the format's blocks divide, up to about `most`.
inline int64_t drawn_inputs(const ops::PackedSpec& spec, int64_t most, Draws& draws) {
  const int64_t unit =
      is_stored_in_blocks(spec.format) ? ops::layout_of(block_type(spec.format)).elements : 1;
  return unit * draws.number(1, std::max<int64_t>(1, most / unit));
}

}  // namespace trireme::test

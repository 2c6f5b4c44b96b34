// The innermost loops of products with packed integer weights, for the instruction set of the machine. All
// instruction sets give the same bits: sums of integers are exact, and every fp32 operation and its place in
// the order is given below.
#pragma once

#include <span>

#include "runtime/ops/cpu/packed/integers/panels.h"

namespace trireme::ops::cpu {

/// 32 inputs of a row of x as integers: x = scale * q about, |q| <= 127, a cache line.
struct alignas(64) QuantizedBlock {
  int8_t q[kBlock];
  float scale;           ///< largest magnitude / 127
  float sum_scaled;      ///< scale * sum, rounded
  int32_t sum;           ///< of q
  int32_t half_sums[2];  ///< of its halves
};

/// Rows of fp32 numbers, `stride` apart.
struct RowsOfX {
  const float* data;
  int64_t stride;
};
struct QuantizedRows {
  const QuantizedBlock* data;
  int64_t stride;  ///< blocks
};

/// A panel of a weight.
struct Panel {
  const PanelLayout& layout;
  const uint8_t* begin;

  const uint8_t* chunk(int64_t c) const { return begin + layout.head + c * layout.chunk_bytes; }
};

/// For one kind of panels. Sums are [rows, 16], one after the other; the row of a product has the same bits
/// in any number of rows.
struct PanelKernels {
  /// sums = x · w^T. Of every sub-block (16 inputs for q6_k, else 32) an exact sum s of q * (code - zero):
  /// sum = fma(s, w_scale * x_scale, sum); then, where weights have minima, sum = fma(minimum, sum_scaled,
  /// sum). Null of fp8.
  void (*integers)(const Panel& panel, const QuantizedRows& x, int64_t rows, float* sums);
  /// One row of x, as many values as the panels have inputs with padding, by two panels: sums[2, 16], each
  /// sum = fma(weight, x, sum) in the order of inputs, from zero.
  void (*exact)(const Panel& first, const Panel& second, const float* x, float* sums);
  /// values[32 * blocks of the chunk, 16].
  void (*unpack)(const Panel& panel, int64_t chunk, float* values);
};

struct IntegerKernels {
  const char* instructions;
  PanelKernels panels[kNumPanelKinds];
  /// sums[rows, 16] continued as `exact` does by x[rows, inputs] and values[inputs, 16].
  void (*multiply)(const float* values, int64_t inputs, const RowsOfX& x, int64_t rows, float* sums);

  const PanelKernels& of(PanelKind kind) const { return panels[static_cast<size_t>(kind)]; }
};

extern const IntegerKernels kPlainIntegerKernels;   ///< of every machine
extern const IntegerKernels kAvx2IntegerKernels;    ///< AVX2, FMA and F16C
extern const IntegerKernels kAvx512IntegerKernels;  ///< AVX-512 with VNNI
extern const IntegerKernels kNeonIntegerKernels;    ///< of every arm64
extern const IntegerKernels kDotIntegerKernels;     ///< arm64 with SDOT

/// Those that the machine can run, the fastest last.
std::span<const IntegerKernels* const> all_integer_kernels();
inline const IntegerKernels& integer_kernels() { return *all_integer_kernels().back(); }

/// x in blocks of 32. A block whose largest magnitude is below 2^-120 counts as zeros; one with a value
/// that is not finite makes every sum NaN.
void quantize_blocks(const float* x, int64_t blocks, QuantizedBlock* to);
/// The same with one scale for all blocks.
void quantize_whole_row(const float* x, int64_t blocks, QuantizedBlock* to);

}  // namespace trireme::ops::cpu

#include "runtime/ops/cuda/packed/packed_layout.h"

#include <bit>

namespace trireme::ops::cuda {

namespace {

struct Numbers {
  int bits;
  ScaleKind kind;
  int zero;
};

Numbers numbers_of(PackedFormat format) {
  switch (format) {
    case PackedFormat::f32:
      return {32, ScaleKind::none, 0};
    case PackedFormat::bf16:
    case PackedFormat::f16:
      return {16, ScaleKind::none, 0};
    case PackedFormat::q8_0:
      return {8, ScaleKind::halves, 128};
    case PackedFormat::q4_0:
      return {4, ScaleKind::halves, 8};
    case PackedFormat::q4_1:
      return {4, ScaleKind::minima, 0};
    case PackedFormat::q4_k:
      return {4, ScaleKind::q4_k, 0};
    case PackedFormat::q6_k:
      return {6, ScaleKind::q6_k, 32};
    case PackedFormat::int8:
      return {8, ScaleKind::groups, 128};
    case PackedFormat::int4:
      return {4, ScaleKind::groups, 8};
    case PackedFormat::fp8:
      return {8, ScaleKind::wide_groups, 0};
  }
  TRIREME_CHECK(false, "format {}", static_cast<int>(format));
}

int64_t ceil_of(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Bytes of a tile's fine and coarse scales; each a multiple of 16.
int64_t fine_bytes(const PackedLayout& l) {
  switch (l.kind) {
    case ScaleKind::none:
      return 0;
    case ScaleKind::minima:
      return l.units * 128;
    case ScaleKind::groups:
      return l.num_groups() * kTileOutputs * 2;
    case ScaleKind::wide_groups:
      return l.num_groups() * kTileOutputs * 4;
    default:
      return l.units * 64;
  }
}
int64_t coarse_bytes(const PackedLayout& l) {
  switch (l.kind) {
    case ScaleKind::q4_k:
      return ceil_of(l.units, 4) * 64;
    case ScaleKind::q6_k:
      return ceil_of(l.units, 4) * 32;
    case ScaleKind::groups:
    case ScaleKind::wide_groups:
      return l.has_zeros ? l.num_groups() * kTileOutputs : 0;
    default:
      return 0;
  }
}

}  // namespace

PackedLayout::PackedLayout(const PackedSpec& spec, int64_t num_matrices, int64_t num_outputs,
                           int64_t num_inputs, DType scales)
    : matrices(num_matrices),
      outputs(num_outputs),
      inputs(num_inputs),
      tiles(ceil_of(num_outputs, kTileOutputs)),
      units(ceil_of(num_inputs, kUnitInputs)) {
  const Numbers numbers = numbers_of(spec.format);
  bits = numbers.bits;
  kind = numbers.kind;
  zero = numbers.zero;
  has_minima = kind == ScaleKind::minima || kind == ScaleKind::q4_k;
  is_bf16 = spec.format == PackedFormat::bf16;
  is_fp8 = spec.format == PackedFormat::fp8;
  if (kind == ScaleKind::groups && scales == DType::f32) kind = ScaleKind::wide_groups;
  if (kind == ScaleKind::groups || kind == ScaleKind::wide_groups) {
    const int64_t g = spec.group;
    TRIREME_CHECK(g == 0 || g == 32 || g == 64 || g == 128, "groups of {} inputs", g);
    group_shift = g == 0 ? 62 : std::countr_zero(static_cast<uint64_t>(g));
    has_zeros = !spec.symmetric;
  }
  unit_bytes = kTileOutputs * kUnitInputs * bits / 8;
  fine = units * unit_bytes;
  coarse = fine + fine_bytes(*this);
  tile_bytes = coarse + coarse_bytes(*this);
}

}  // namespace trireme::ops::cuda

#include "runtime/ops/cpu/packed/integers/panels.h"

#include "runtime/base/integers.h"

namespace trireme::ops::cpu {

namespace {

constexpr int64_t kLine = 64;

PanelKind kind_of(const PackedSpec& spec) {
  switch (spec.format) {
    case PackedFormat::q8_0:
      return PanelKind::q8_0;
    case PackedFormat::q4_0:
      return PanelKind::q4_0;
    case PackedFormat::q4_1:
      return PanelKind::q4_1;
    case PackedFormat::q4_k:
      return PanelKind::q4_k;
    case PackedFormat::q6_k:
      return PanelKind::q6_k;
    case PackedFormat::int8:
      return spec.symmetric ? PanelKind::int8 : PanelKind::int8_zeros;
    case PackedFormat::int4:
      return spec.symmetric ? PanelKind::int4 : PanelKind::int4_zeros;
    case PackedFormat::fp8:
      return PanelKind::fp8;
    default:
      TRIREME_CHECK(false, "panels of {}", to_string(spec));
  }
}

/// By kind: bits of a code; 16-bit scales and bytes of minor factors that an output has for each group.
struct Parts {
  int bits, scales, minor;
};
constexpr Parts kParts[kNumPanelKinds] = {{8, 1, 0}, {4, 1, 0}, {4, 2, 0}, {4, 2, 12}, {6, 1, 16},
                                          {8, 1, 0}, {8, 1, 1}, {4, 1, 0}, {4, 1, 1},  {8, 1, 0}};

}  // namespace

PanelLayout panel_layout(const PackedSpec& spec, int64_t inputs, DType scales) {
  const PanelKind kind = kind_of(spec);
  const Parts parts = kParts[static_cast<size_t>(kind)];
  PanelLayout layout{};
  layout.kind = kind;
  layout.blocks = ceil_of(inputs, kBlock);
  if (kind == PanelKind::q4_k || kind == PanelKind::q6_k) {
    layout.group_blocks = PanelLayout::kChunk;
  } else {
    layout.group_blocks = kind >= PanelKind::int8 ? spec.group / kBlock : 1;
  }
  const bool is_wide = kind == PanelKind::fp8 || (kind >= PanelKind::int8 && scales == DType::f32);
  layout.scale_bytes = is_wide ? 4 : 2;
  layout.block_bytes = parts.bits * kBlock / 8 * kPanel;
  if (layout.group_blocks == 0) {
    layout.head = PanelLayout::kZerosOfHead + (parts.minor == 0 ? 0 : kLine);
  } else {
    const int64_t groups = PanelLayout::kChunk / layout.group_blocks;
    layout.minor = round_up(groups * parts.scales * layout.scale_bytes * kPanel, kLine);
    layout.codes = layout.minor + round_up(groups * parts.minor * kPanel, kLine);
  }
  layout.chunk_bytes = layout.codes + PanelLayout::kChunk * layout.block_bytes;
  layout.bytes = layout.head + layout.chunks() * layout.codes + layout.blocks * layout.block_bytes;
  return layout;
}

PanelShape panel_shape(const PanelLayout& layout) {
  return {.elements = {.bytes = 1, .zero = 128},
          .head = layout.head,
          .chunk_head = layout.codes,
          .chunk_bytes = layout.chunk_bytes,
          .bytes = layout.bytes};
}

int64_t integers_bytes(const PackedWeight& w) {
  return w.matrices * panels_of(w.outputs) * panel_layout(w).bytes;
}

}  // namespace trireme::ops::cpu

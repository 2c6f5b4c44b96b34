// Into panels: rows of numbers as codes, and ggml's blocks word by word.
#include <cstring>
#include <vector>

#include "runtime/base/integers.h"
#include "runtime/ops/cpu/packed/integers/panels.h"
#include "runtime/ops/cpu/support.h"
#include "runtime/ops/packed/quantize_row.h"

namespace trireme::ops::cpu {

namespace {

constexpr uint32_t kLow = 0x0f0f0f0f;

TRIREME_INLINE uint32_t word_at(const uint8_t* bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

/// Where one output's part of a panel goes.
struct Lane {
  const PanelLayout& layout;
  uint8_t* panel;
  int64_t lane;

  TRIREME_INLINE void put_scale(int64_t group, const uint8_t* half, int64_t per_group = 1,
                                int64_t place = 0) const {
    std::memcpy(panel + layout.scale_at(group, per_group, place) + lane * 2, half, 2);
  }
  void put_scale(int64_t group, float scale) const {
    const bf16 half(scale);
    uint8_t* to = panel + layout.scale_at(group, 1, 0) + lane * layout.scale_bytes;
    layout.scale_bytes == 2 ? std::memcpy(to, &half.bits, 2) : std::memcpy(to, &scale, 4);
  }
  TRIREME_INLINE uint8_t* minor(int64_t group, int64_t bytes) const {
    return panel + layout.minor_at(group, bytes);
  }
  TRIREME_INLINE uint8_t* block(int64_t b) const { return panel + layout.code_at(b) + 4 * lane; }
  static TRIREME_INLINE void put(uint8_t* block, int line, uint32_t word) {
    std::memcpy(block + 64 * line, &word, sizeof word);
  }
};

void put_codes(const Lane& to, int64_t b, const uint8_t* codes) {
  uint8_t* block = to.block(b);
  const bool wide = to.layout.block_bytes == kBlock * kPanel;
  for (int line = 0; line < (wide ? 8 : 4); ++line) {
    const uint32_t first = word_at(codes + 4 * line);
    Lane::put(block, line, wide ? first : first | word_at(codes + 16 + 4 * line) << 4);
  }
}

void put_fp8(const Lane& to, int64_t b, const uint8_t* codes) {
  uint8_t* block = to.panel + to.layout.code_at(b);
  for (int64_t i = 0; i < kBlock; ++i) block[i / 4 * 64 + fp8_byte(to.lane, i % 4)] = codes[i];
}

void put_q8_0(const Lane& to, int64_t b, const uint8_t* in) {
  to.put_scale(b, in);
  for (int line = 0; line < 8; ++line) Lane::put(to.block(b), line, word_at(in + 2 + 4 * line) ^ 0x80808080);
}

void put_q4_0(const Lane& to, int64_t b, const uint8_t* in) {
  to.put_scale(b, in);
  for (int line = 0; line < 4; ++line) Lane::put(to.block(b), line, word_at(in + 2 + 4 * line));
}

void put_q4_1(const Lane& to, int64_t b, const uint8_t* in) {
  to.put_scale(b, in, 2, 0);
  to.put_scale(b, in + 2, 2, 1);
  for (int line = 0; line < 4; ++line) Lane::put(to.block(b), line, word_at(in + 4 + 4 * line));
}

/// 32 codes of four bits: the low or the high ones of 32 bytes.
TRIREME_INLINE void put_nibbles(uint8_t* block, const uint8_t* in, bool high) {
  for (int line = 0; line < 4; ++line) {
    const uint32_t first = word_at(in + 4 * line), second = word_at(in + 16 + 4 * line);
    Lane::put(block, line,
              high ? ((first >> 4) & kLow) | (second & ~kLow) : (first & kLow) | (second & kLow) << 4);
  }
}

void put_q4_k(const Lane& to, int64_t group, const uint8_t* in) {
  to.put_scale(group, in, 2, 0);
  to.put_scale(group, in + 2, 2, 1);
  for (int word = 0; word < 3; ++word) {
    const uint32_t factors = word_at(in + 4 + 4 * word);
    std::memcpy(to.minor(group, 192) + 64 * word + 4 * to.lane, &factors, sizeof factors);
  }
  for (int i = 0; i < 8; ++i) put_nibbles(to.block(8 * group + i), in + 16 + i / 2 * 32, i % 2 != 0);
}

void put_q6_k(const Lane& to, int64_t group, const uint8_t* in) {
  to.put_scale(group, in + 208);
  for (int i = 0; i < 16; ++i) to.minor(group, 256)[i * kPanel + to.lane] = in[192 + i];
  for (int i = 0; i < 8; ++i) {
    // As decode_blocks says: of 128 elements, four rows of 32.
    const int row = i % 4, half = i / 4;
    uint8_t* block = to.block(8 * group + i);
    put_nibbles(block, in + 64 * half + row % 2 * 32, row >= 2);
    for (int line = 0; line < 2; ++line) {
      uint32_t word = 0;
      for (int t = 0; t < 4; ++t) {
        const uint32_t upper = word_at(in + 128 + 32 * half + 16 * line + 4 * t);
        word |= ((upper >> (2 * row)) & 0x03030303) << (2 * t);
      }
      Lane::put(block, 4 + line, word);
    }
  }
}

/// How a group of ggml's is put into its lane; `group` counts from the row's beginning.
struct StoredGroup {
  int64_t inputs, bytes;
  void (*put)(const Lane& to, int64_t group, const uint8_t* in);
};
StoredGroup stored_group(PackedFormat format) {
  switch (format) {
    case PackedFormat::q8_0:
      return {32, 34, put_q8_0};
    case PackedFormat::q4_0:
      return {32, 18, put_q4_0};
    case PackedFormat::q4_1:
      return {32, 20, put_q4_1};
    case PackedFormat::q4_k:
      return {256, 144, put_q4_k};
    case PackedFormat::q6_k:
      return {256, 210, put_q6_k};
    default:
      TRIREME_CHECK(false, "blocks of {}", to_string(PackedSpec{format}));
  }
}

/// Outputs from row `first` on as codes.
void put_rows(const PackedWeight& w, const PanelLayout& layout, const ReadCodes& row, int64_t first,
              int64_t outputs, uint8_t* panel) {
  const auto groups = static_cast<size_t>(groups_of(w.spec, w.inputs));
  const uint8_t most_code = w.spec.format == PackedFormat::int4 ? 15 : 255;
  std::vector<float> scales(groups);
  std::vector<uint8_t> codes(static_cast<size_t>(layout.blocks * kBlock)), zeros(groups);
  for (int64_t lane = 0; lane < outputs; ++lane) {
    row(first + lane, {std::span(codes).first(static_cast<size_t>(w.inputs)), scales, zeros});
    // Other programs' zeros of four bits may be 16, which is no code; x is 0 there.
    std::fill(codes.begin() + w.inputs, codes.end(), std::min(zeros.back(), most_code));
    const Lane to{layout, panel, lane};
    for (size_t g = 0; g < groups; ++g) {
      to.put_scale(static_cast<int64_t>(g), scales[g]);
      if (!w.spec.symmetric) to.minor(static_cast<int64_t>(g), kPanel)[lane] = zeros[g];
    }
    const auto put = layout.kind == PanelKind::fp8 ? put_fp8 : put_codes;
    for (int64_t b = 0; b < layout.blocks; ++b) put(to, b, codes.data() + b * kBlock);
  }
}

/// Calls task(matrix's first row + first output, outputs, panel) for every panel; it may throw.
template <class Task>
void for_each_panel(Context& ctx, const PackedWeight& w, const PanelLayout& layout, Task&& task) {
  const int64_t panels = panels_of(w.outputs);
  auto* data = w.data.data<uint8_t>();
  run_in_team(ctx.num_threads(), w.matrices * panels, [&](int64_t t, int64_t) {
    const int64_t output = t % panels * kPanel, outputs = std::min(kPanel, w.outputs - output);
    uint8_t* panel = data + t * layout.bytes;
    if (outputs < kPanel) std::memset(panel, 0, static_cast<size_t>(layout.bytes));
    task(t / panels * w.outputs + output, outputs, panel);
  });
}

}  // namespace

void pack_integers(Context& ctx, const PackedWeight& w, const ReadCodes& row) {
  const PanelLayout layout = panel_layout(w);
  for_each_panel(ctx, w, layout, [&](int64_t first, int64_t outputs, uint8_t* panel) {
    put_rows(w, layout, row, first, outputs, panel);
  });
}

Tensor pack_sparse_integers(Context& ctx, const PackedWeight& w, const ReadCodes& row, double least_zeros) {
  const PanelLayout layout = panel_layout(w);
  const int64_t panels = panels_of(w.outputs);
  return pack_sparse(
      ctx, panel_shape(layout), w.matrices * panels, w.rows() * w.inputs,
      [&](int64_t p, std::byte* to) {
        const int64_t output = p % panels * kPanel, outputs = std::min(kPanel, w.outputs - output);
        put_rows(w, layout, row, p / panels * w.outputs + output, outputs, reinterpret_cast<uint8_t*>(to));
      },
      least_zeros);
}

void pack_stored_integers(Context& ctx, const PackedWeight& w, const StoredRow& row) {
  const PanelLayout layout = panel_layout(w);
  const StoredGroup group = stored_group(w.spec.format);
  const int64_t groups = w.inputs / group.inputs;
  TRIREME_CHECK(groups * group.inputs == w.inputs, "pack_stored: {} inputs in blocks of {}", w.inputs,
                group.inputs);
  for_each_panel(ctx, w, layout, [&](int64_t first, int64_t outputs, uint8_t* panel) {
    const uint8_t* rows[kPanel] = {};
    for (int64_t lane = 0; lane < outputs; ++lane) {
      rows[lane] = reinterpret_cast<const uint8_t*>(row(first + lane));
    }
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t lane = 0; lane < outputs; ++lane) {
        group.put({layout, panel, lane}, g, rows[lane] + g * group.bytes);
      }
    }
  });
}

}  // namespace trireme::ops::cpu

#include "runtime/ops/cpu/packed/float_layout.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "runtime/base/integers.h"
#include "runtime/ops/cpu/gemm/gemm_kernels.h"
#include "runtime/ops/cpu/gemm/onednn.h"
#include "runtime/ops/cpu/packed/pair_dots.h"
#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

FloatLayout layout_of(PackedFormat format) {
  TRIREME_CHECK(!is_integer(format), "packed floats: an integer format");
  if (format == PackedFormat::f32) return FloatLayout::panels;
  if (format == PackedFormat::bf16) {
    return pair_dots_are_onednns() || !onednn::has_matmul(DType::bf16) ? FloatLayout::pair_panels
                                                                       : FloatLayout::rows;
  }
  return onednn::has_matmul(DType::f16) ? FloatLayout::rows : FloatLayout::panels;
}

// Of the panel with this number.
int64_t rows_in(const PackedFloats& w, int64_t number) {
  return std::min(PackedFloats::panel_columns(), w.rows - number * PackedFloats::panel_columns());
}

// to[k, columns] from rows of k numbers, in pieces of rows that stay in the cache.
template <class T>
void interleave(const T* rows, int64_t num_rows, int64_t k, int64_t stride, T* to, int64_t columns) {
  constexpr int64_t kPiece = 16;
  for (int64_t begin = 0; begin < k; begin += kPiece) {
    const int64_t end = std::min(k, begin + kPiece);
    for (int64_t r = 0; r < num_rows; ++r) {
      for (int64_t i = begin; i < end; ++i) to[i * columns + r] = rows[r * stride + i];
    }
  }
}

// Pairs of bf16 are copied as one number.
void interleave_pairs(const bf16* rows, int64_t num_rows, int64_t k, bf16* to, int64_t columns) {
  constexpr int64_t kPiece = 16;
  for (int64_t begin = 0; begin < k; begin += 2 * kPiece) {
    const int64_t end = std::min(k, begin + 2 * kPiece);
    for (int64_t r = 0; r < num_rows; ++r) {
      for (int64_t i = begin; i < end; i += 2) {
        std::memcpy(to + i * columns + 2 * r, rows + r * k + i, sizeof(bf16) * (i + 1 < end ? 2 : 1));
      }
    }
  }
}

// Even and odd inputs of pairs: the halves of a 32-bit number.
TRIREME_VECTORIZED void widen_pairs(const uint32_t* pairs, int64_t n, float* even, float* odd) {
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) {
    even[j] = std::bit_cast<float>(pairs[j] << 16);
    odd[j] = std::bit_cast<float>(pairs[j] & 0xffff0000u);
  }
}

template <class T>
void widen_rows(const PackedFloats& w, int64_t number, int64_t depth, int64_t depths, float* scratch,
                float* values) {
  const int64_t first = number * PackedFloats::panel_columns(), num_rows = rows_in(w, number);
  for (int64_t r = 0; r < num_rows; ++r) {
    convert_range(w.row<T>(first + r) + depth, scratch + r * depths, depths);
  }
  gemm_kernels().pack_b(true, {scratch, depths}, depths, num_rows, 1.0f, values);
}

}  // namespace

int64_t PackedFloats::panel_columns() { return gemm_kernels().columns; }
int64_t PackedFloats::num_panels() const { return ceil_of(rows, panel_columns()); }
int64_t PackedFloats::depth() const {
  return layout == FloatLayout::pair_panels ? round_up(inputs, int64_t{2}) : inputs;
}
int64_t PackedFloats::bytes() const {
  const int64_t elements =
      layout == FloatLayout::rows ? rows * inputs : num_panels() * panel_columns() * depth();
  return round_up(elements * element_bytes(), int64_t{64});
}

PanelShape PackedFloats::panel_shape() const {
  const int64_t bytes = round_up(panel_columns() * depth() * element_bytes(), kLineBytes);
  return {.elements = {.bytes = element_bytes()}, .chunk_bytes = bytes, .bytes = bytes};
}

PackedFloats packed_floats(PackedFormat format, int64_t rows, int64_t inputs, bool sparse) {
  if (!sparse) return {format, layout_of(format), rows, inputs, nullptr};
  const auto layout = format == PackedFormat::bf16 ? FloatLayout::pair_panels : FloatLayout::panels;
  return {format, layout, rows, inputs, nullptr};
}

PackedFloats packed_floats(const PackedWeight& w, int64_t matrix) {
  PackedFloats of = packed_floats(w.spec.format, w.outputs, w.inputs, w.spec.sparse);
  if (w.spec.sparse) {
    of.sparse = &w.data;
    of.first_panel = matrix * of.num_panels();
    return of;
  }
  of.data = static_cast<std::byte*>(w.data.raw()) + matrix * of.bytes();
  return of;
}

template <class T>
void pack_panel(const PackedFloats& w, const T* rows, int64_t number) {
  const int64_t num_rows = rows_in(w, number), columns = PackedFloats::panel_columns();
  if (w.layout == FloatLayout::rows) {
    std::memcpy(w.row<T>(number * columns), rows, static_cast<size_t>(num_rows * w.inputs) * sizeof(T));
    return;
  }
  T* panel = w.panel<T>(number);
  std::memset(static_cast<void*>(panel), 0, static_cast<size_t>(w.depth() * columns) * sizeof(T));
  if constexpr (std::is_same_v<T, bf16>) {
    interleave_pairs(rows, num_rows, w.inputs, panel, columns);
  } else {
    interleave(rows, num_rows, w.inputs, w.inputs, panel, columns);
  }
}
template void pack_panel(const PackedFloats&, const float*, int64_t);
template void pack_panel(const PackedFloats&, const bf16*, int64_t);
template void pack_panel(const PackedFloats&, const fp16*, int64_t);

void widen_panel(const PackedFloats& w, int64_t number, int64_t depth, int64_t depths, float* scratch,
                 float* values) {
  const int64_t columns = PackedFloats::panel_columns();
  if (w.layout == FloatLayout::rows) {
    if (w.format == PackedFormat::bf16) return widen_rows<bf16>(w, number, depth, depths, scratch, values);
    return widen_rows<fp16>(w, number, depth, depths, scratch, values);
  }
  if (w.layout == FloatLayout::panels) {
    return convert_range(w.panel<fp16>(number, depth), values, depths * columns);
  }
  const auto* pairs = w.panel<uint32_t>(number, depth);
  for (int64_t i = 0; i < depths; i += 2, pairs += columns) {
    float* even = values + i * columns;
    // An odd number of inputs ends without the second of its pair.
    widen_pairs(pairs, columns, even, i + 1 < depths ? even + columns : scratch);
  }
}

void widen_row(const PackedFloats& w, int64_t row, float* values) {
  const int64_t columns = PackedFloats::panel_columns(), number = row / columns, j = row % columns;
  if (w.sparse != nullptr) {
    const PanelShape shape = w.panel_shape();
    std::vector<std::byte> dense(static_cast<size_t>(shape.bytes));
    SparsePanel(*w.sparse, shape, w.first_panel + number).expand(dense.data());
    return widen_row({w.format, w.layout, columns, w.inputs, dense.data()}, j, values);
  }
  const auto value = [&]<class T>(const T* panel, int64_t i) {
    return static_cast<float>(w.layout == FloatLayout::pair_panels
                                  ? panel[i / 2 * 2 * columns + 2 * j + i % 2]
                                  : panel[i * columns + j]);
  };
  const auto widen = [&]<class T>(T) {
    if (w.layout == FloatLayout::rows) return convert_range(w.row<T>(row), values, w.inputs);
    for (int64_t i = 0; i < w.inputs; ++i) values[i] = value(w.panel<T>(number), i);
  };
  if (w.format == PackedFormat::f32) return widen(float{});
  w.format == PackedFormat::bf16 ? widen(bf16{}) : widen(fp16{});
}

}  // namespace trireme::ops::cpu

// How packed weights of f32, bf16 and f16 lie in memory.
#pragma once

#include "runtime/ops/cpu/packed/sparse/sparse_panels.h"

namespace trireme::ops::cpu {

/// Panels hold as many outputs as those of fp32 products (gemm_kernels.h), side by side; the last is filled
/// up with zeros.
enum class FloatLayout : uint8_t {
  panels,       ///< panel[inputs][columns] of the format
  pair_panels,  ///< panel[inputs / 2, rounded up][columns][2] of bf16: what the dot product of pairs takes
  rows,         ///< as they are: where oneDNN's products are the faster ones
};

/// Of floats_bytes: where things are in one matrix.
struct PackedFloats {
  PackedFormat format;
  FloatLayout layout;
  int64_t rows, inputs;
  std::byte* data;
  /// Of a sparse weight, whose panels are in its data from this one on; `data` is null.
  const Tensor* sparse = nullptr;
  int64_t first_panel = 0;

  int64_t element_bytes() const { return format == PackedFormat::f32 ? 4 : 2; }
  int64_t num_panels() const;
  /// Inputs with what fills them up.
  int64_t depth() const;
  int64_t bytes() const;
  /// Of panels: where a panel's part from input `depth` (an even number) on begins.
  template <class T>
  T* panel(int64_t number, int64_t depth = 0) const {
    return reinterpret_cast<T*>(data + (number * this->depth() + depth) * panel_columns() * element_bytes());
  }
  /// Of rows.
  template <class T>
  T* row(int64_t r) const {
    return reinterpret_cast<T*>(data + r * inputs * element_bytes());
  }
  /// Of sparse panels.
  PanelShape panel_shape() const;
  static int64_t panel_columns();
};

/// One matrix of a packed weight.
PackedFloats packed_floats(const PackedWeight& w, int64_t matrix);
/// `sparse`: in panels on every processor.
PackedFloats packed_floats(PackedFormat format, int64_t rows, int64_t inputs, bool sparse = false);

/// The numbers of a panel, at most panel_columns() rows of `inputs`, one after the other; T: the format's
/// type.
template <class T>
void pack_panel(const PackedFloats& w, const T* rows, int64_t number);
/// values[depths, panel_columns()] of a panel (of the `rows` layout: of as many rows) from input `depth` on,
/// as a panel of fp32 products. `scratch` holds as many floats.
void widen_panel(const PackedFloats& w, int64_t number, int64_t depth, int64_t depths, float* scratch,
                 float* values);
/// Values of a row as floats; of a sparse weight its panel is expanded.
void widen_row(const PackedFloats& w, int64_t row, float* values);

}  // namespace trireme::ops::cpu

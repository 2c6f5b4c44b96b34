#include "runtime/ops/cpu/packed/floats.h"

#include <cstring>
#include <vector>

#include "runtime/ops/cpu/packed/float_layout.h"
#include "runtime/ops/cpu/packed/float_products.h"
#include "runtime/ops/cpu/packed/pair_dots.h"
#include "runtime/ops/cpu/support.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/gemm/gemm.h"

namespace trireme::ops::cpu {

namespace {

DType dtype_of(PackedFormat format) {
  return format == PackedFormat::f32 ? DType::f32 : format == PackedFormat::bf16 ? DType::bf16 : DType::f16;
}

/// Packs all panels, each from rows that read(row, to) fills with T's; reading may throw.
template <class T, class Read>
void pack_all(Context& ctx, const PackedWeight& w, const Read& read) {
  const int64_t columns = PackedFloats::panel_columns(), panels = packed_floats(w, 0).num_panels();
  run_in_team(ctx.num_threads(), w.matrices * panels, [&](int64_t t, int64_t) {
    const PackedFloats matrix = packed_floats(w, t / panels);
    const int64_t first = t % panels * columns, count = std::min(columns, w.outputs - first);
    std::vector<T> rows(static_cast<size_t>(count * w.inputs));
    for (int64_t r = 0; r < count; ++r) {
      read(t / panels * w.outputs + first + r, std::span<T>(rows).subspan(r * w.inputs, w.inputs));
    }
    pack_panel(matrix, rows.data(), t % panels);
  });
}

// Widened; rows of f32 as they are.
Tensor in_fp32(Context& ctx, const Tensor& x) {
  if (x.dtype() == DType::f32) return x;
  const Tensor wide = Tensor::empty(ctx, x.shape(), DType::f32, MemoryCategory::buffers);
  cpu::copy(ctx, x, wide);
  return wide;
}

}  // namespace

Tensor pack_sparse_floats(Context& ctx, const PackedWeight& w, const ReadRow& row, double least_zeros) {
  const PackedFloats shape = packed_floats(w.spec.format, w.outputs, w.inputs, true);
  const int64_t panels = shape.num_panels(), columns = PackedFloats::panel_columns();
  return pack_sparse(
      ctx, shape.panel_shape(), w.matrices * panels, w.rows() * w.inputs,
      [&](int64_t p, std::byte* to) {
        const int64_t first = p % panels * columns;
        const int64_t count = std::min(columns, w.outputs - first);
        const PackedFloats panel = {shape.format, shape.layout, count, w.inputs, to};
        with_compute_type(dtype_of(w.spec.format), [&]<class T>(T) {
          std::vector<float> values(static_cast<size_t>(w.inputs));
          std::vector<T> rows(static_cast<size_t>(count * w.inputs));
          for (int64_t r = 0; r < count; ++r) {
            row(p / panels * w.outputs + first + r, values);
            convert_range(values.data(), rows.data() + r * w.inputs, w.inputs);
          }
          pack_panel(panel, rows.data(), 0);
        });
      },
      least_zeros);
}

int64_t floats_bytes(PackedFormat format, int64_t rows, int64_t inputs) {
  return packed_floats(format, rows, inputs).bytes();
}

void pack_floats(Context& ctx, const PackedWeight& w, const ReadRow& row) {
  with_compute_type(dtype_of(w.spec.format), [&]<class T>(T) {
    pack_all<T>(ctx, w, [&](int64_t r, std::span<T> to) {
      std::vector<float> values(to.size());
      row(r, values);
      convert_range(values.data(), to.data(), w.inputs);
    });
  });
}

void pack_stored_floats(Context& ctx, const PackedWeight& w, const StoredRow& row) {
  with_compute_type(dtype_of(w.spec.format), [&]<class T>(T) {
    pack_all<T>(ctx, w, [&](int64_t r, std::span<T> to) {
      std::memcpy(static_cast<void*>(to.data()), row(r), to.size_bytes());
    });
  });
}

void floats_linear(Context& ctx, const Tensor& x, const PackedWeight& w, int64_t matrix, const Tensor& bias,
                   const Columns& y) {
  const PackedFloats weights = packed_floats(w, matrix);
  const DType dtype = dtype_of(w.spec.format);
  // Sparse pairs of processors whose dense weights lie in rows: oneDNN's order of sums is not to be had
  // there.
  const bool widens = weights.sparse != nullptr && !pair_dots_are_onednns();
  if (x.dtype() != dtype || weights.layout == FloatLayout::panels || widens || !has_native_gemm(ctx, dtype)) {
    return multiply_widened(ctx, in_fp32(ctx, x), weights, bias, y);
  }
  if (weights.layout == FloatLayout::pair_panels) return multiply_pairs(ctx, x, weights, bias, y);
  const Tensor rows = Tensor::borrow(weights.data, {w.outputs, w.inputs}, dtype);
  cpu::gemm(ctx, {.transpose_b = true}, x, rows, bias, y);
}

void floats_unpack_row(const PackedWeight& w, int64_t row, std::span<float> values) {
  widen_row(packed_floats(w, row / w.outputs), row % w.outputs, values.data());
}

}  // namespace trireme::ops::cpu

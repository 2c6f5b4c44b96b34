#include "runtime/ops/packed/packed_linear.h"

#include <vector>

#include "runtime/ops/cpu/packed/floats.h"
#include "runtime/ops/cpu/packed/integers/integer_linear.h"
#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

void order_columns(Context& ctx, const Tensor& x, const Tensor& order, const Tensor& out) {
  const int64_t width = x.dim(1);
  expect_indices("order_columns", "order", order, width);
  const auto* from = order.data<int32_t>();
  with_compute_type(x.dtype(), [&]<class T>(T) {
    const T* rows = x.data<T>();
    T* to = out.data<T>();
    parallel_for(ctx.num_threads(), x.dim(0), row_grain(width), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        for (int64_t j = 0; j < width; ++j) to[r * width + j] = rows[r * width + from[j]];
      }
    });
  });
}

void packed_linear(Context& ctx, const Tensor& x, const PackedWeight& w, Activations activations,
                   const Tensor& bias, const Columns& y) {
  if (!is_integer(w.spec.format)) return floats_linear(ctx, x, w, 0, bias, y);
  const int64_t rows = x.dim(0);
  integers_linear(ctx, x, {&rows, 1}, w, activations, bias, y);
}

void packed_grouped_linear(Context& ctx, const Tensor& x, std::span<const int64_t> counts,
                           const PackedWeight& w, Activations activations, const Tensor& y) {
  if (is_integer(w.spec.format)) return integers_linear(ctx, x, counts, w, activations, {}, y);
  int64_t row = 0;
  for (int64_t m = 0; m < w.matrices; ++m) {
    const int64_t end = row + counts[static_cast<size_t>(m)];
    if (end > row) floats_linear(ctx, x.slice(row, end), w, m, {}, y.slice(row, end));
    row = end;
  }
}

void packed_embedding(Context& ctx, const Tensor& ids, const PackedWeight& table, const TablePart& part,
                      const Tensor& positions, const Tensor& position_table, const Tensor& out) {
  const int64_t width = table.inputs;
  expect_indices("packed_embedding", "ids", ids, part.total);
  if (positions) expect_indices("packed_embedding", "positions", positions, position_table.dim(0));
  const auto *id = ids.data<int32_t>(), *position = data_or_null<int32_t>(positions);
  const auto* input = data_or_null<int32_t>(table.order);
  with_compute_type(out.dtype(), [&]<class T>(T) {
    const T* places = data_or_null<T>(position_table);
    T* rows = out.data<T>();
    parallel_for(ctx.num_threads(), out.dim(0), row_grain(width), [&](int64_t begin, int64_t end) {
      std::vector<float> values(static_cast<size_t>(width)), ordered(values);
      for (int64_t n = begin; n < end; ++n) {
        const int64_t row = id[n] - part.first;
        T* to = rows + n * width;
        if (row >= 0 && row < table.outputs) {
          is_integer(table.spec.format) ? unpack_integers(table, row, values)
                                        : floats_unpack_row(table, row, values);
        } else {
          std::fill(values.begin(), values.end(), 0.0f);
        }
        if (input != nullptr) {
          for (size_t j = 0; j < values.size(); ++j) ordered[static_cast<size_t>(input[j])] = values[j];
          values.swap(ordered);
        }
        convert_range(values.data(), to, width);
        // As embedding: a row of the table, in out's type, and a position's.
        if (position != nullptr) add_range(to, places + position[n] * width, to, width);
      }
    });
  });
}

}  // namespace trireme::ops::cpu

#include "runtime/ops/packed/packed_linear.h"

#include <type_traits>

#include "runtime/ops/cuda/packed/packed_products.cuh"

namespace trireme::ops::cuda {

namespace {

/// Groups of few rows and of many have different kernels, whose sums are the same.
template <class T>
void multiply(Context& ctx, const ProductOperands<T>& p, const RowGroups& groups) {
  const PackedLayout& l = p.layout;
  if constexpr (!std::is_same_v<T, float>) {
    if (l.bits == 16 && l.is_bf16 == std::is_same_v<T, bf16>) return multiply_packed_16<T>(ctx, p, groups);
    if (l.is_fp8) return multiply_packed_fp8<T>(ctx, p, groups);
    if (l.bits == 4) return multiply_packed_4<T>(ctx, p, groups);
    if (l.bits == 6) return multiply_packed_6<T>(ctx, p, groups);
    if (l.bits == 8) return multiply_packed_8<T>(ctx, p, groups);
  }
  multiply_packed_exactly<T>(ctx, p, groups);
}

/// Tiles of 64 rows suit 33 and more, blocks for one tile 8 or 32.
size_t class_of(int64_t rows) { return rows <= 8 ? 0 : rows <= 32 ? 1 : 2; }

template <class T>
struct OrderColumns {
  const T* x;
  const int32_t* order;
  int64_t width;
  T* out;

  __device__ void operator()(int64_t row, int64_t column, int count) const {
    float values[kPack] = {};
    for (int j = 0; j < count; ++j) {
      expect_index(order[column + j], width);
      values[j] = widen(x[row * width + order[column + j]]);
    }
    store(out + row * width + column, count, values);
  }
};

template <class T>
struct EmbeddingOfPacked {
  PackedLayout layout;
  const std::byte* table;
  const int32_t* order;            // or null
  const int32_t *ids, *positions;  // positions and places may be null, together
  const T* places;
  int64_t first, total, num_places;
  T* out;

  /// Reads a tile's memory on the device.
  struct Tile {
    const std::byte* data;
    __device__ int u8(int64_t byte) const { return reinterpret_cast<const unsigned char*>(data)[byte]; }
    __device__ uint16_t u16(int64_t byte) const { return *reinterpret_cast<const uint16_t*>(data + byte); }
    __device__ float f32(int64_t byte) const { return *reinterpret_cast<const float*>(data + byte); }
  };

  __device__ void operator()(int64_t n, int64_t column, int count) const {
    const int64_t row = ids[n] - first;
    expect_index(ids[n], total);
    float sum[kPack] = {};
    if (order != nullptr) return put_in_order(n, row, column, count);
    if (row >= 0 && row < layout.outputs) {
      const Tile tile{table + row / kTileOutputs * layout.tile_bytes};
      for (int j = 0; j < count; ++j) {
        // As a word of a table of this type.
        sum[j] = widen(narrowed<T>(layout.value(tile, static_cast<int>(row % kTileOutputs), column + j)));
      }
    }
    if (positions != nullptr) {
      float place[kPack];
      expect_index(positions[n], num_places);
      load(places + positions[n] * layout.inputs + column, count, place);
      for (int j = 0; j < kPack; ++j) sum[j] += place[j];
    }
    store(out + n * layout.inputs + column, count, sum);
  }

  /// Places [column, column + count), each where its input belongs.
  __device__ void put_in_order(int64_t n, int64_t row, int64_t column, int count) const {
    const bool is_here = row >= 0 && row < layout.outputs;
    const Tile tile{table + (is_here ? row / kTileOutputs * layout.tile_bytes : 0)};
    if (positions != nullptr) expect_index(positions[n], num_places);
    for (int j = 0; j < count; ++j) {
      const int64_t input = order[column + j];
      float sum = 0;
      if (is_here)
        sum = widen(narrowed<T>(layout.value(tile, static_cast<int>(row % kTileOutputs), column + j)));
      if (positions != nullptr) sum += widen(places[positions[n] * layout.inputs + input]);
      out[n * layout.inputs + input] = narrowed<T>(sum);
    }
  }
};

}  // namespace

void packed_linear(Context& ctx, const Tensor& x, const PackedWeight& w, Activations, const Tensor& bias,
                   const Columns& y) {
  RowGroups groups;
  groups.add({0, x.dim(0), 0});
  with_compute_type(x.dtype(), [&]<class T>(T) { multiply(ctx, ProductOperands<T>(x, w, bias, y), groups); });
}

void order_columns(Context& ctx, const Tensor& x, const Tensor& order, const Tensor& out) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    launch_rows(ctx, x.dim(0), x.dim(1),
                OrderColumns<T>{x.data<T>(), order.data<int32_t>(), x.dim(1), out.data<T>()});
  });
}

void packed_grouped_linear(Context& ctx, const Tensor& x, std::span<const int64_t> counts,
                           const PackedWeight& w, Activations, const Tensor& y) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    const ProductOperands<T> operands(x, w, Tensor(), y);
    RowGroups waiting[3];
    int64_t first = 0;
    for (size_t e = 0; e < counts.size(); ++e) {
      const RowGroup group{first, counts[e], static_cast<int64_t>(e)};
      first += counts[e];
      if (group.rows == 0) continue;
      RowGroups& groups = waiting[class_of(group.rows)];
      groups.add(group);
      if (groups.count < RowGroups::kMost) continue;
      multiply(ctx, operands, groups);
      groups = {};
    }
    for (const RowGroups& groups : waiting) {
      if (groups.count > 0) multiply(ctx, operands, groups);
    }
  });
}

void packed_embedding(Context& ctx, const Tensor& ids, const PackedWeight& table, const TablePart& part,
                      const Tensor& positions, const Tensor& position_table, const Tensor& out) {
  with_compute_type(out.dtype(), [&]<class T>(T) {
    launch_rows(
        ctx, out.dim(0), table.inputs,
        EmbeddingOfPacked<T>{PackedLayout(table), static_cast<const std::byte*>(table.data.raw()),
                             data_or_null<int32_t>(table.order), ids.data<int32_t>(),
                             data_or_null<int32_t>(positions), data_or_null<T>(position_table), part.first,
                             part.total, positions ? position_table.dim(0) : 0, out.data<T>()});
  });
}

}  // namespace trireme::ops::cuda

// Into the blocks of a cache, and from one block to another. Within a block a head's rows follow each other,
// head_dim numbers each.
#include "runtime/ops/cuda/attention/paged.cuh"
#include "runtime/ops/cuda/reduce.cuh"
#include "runtime/ops/host_copy.h"

namespace trireme::ops::cuda {

namespace {

struct CacheWrite {
  const int32_t *tables, *sequences, *places;
  int64_t rows, table_width, kv_heads, head_dim, block_tokens;
};

/// Keys or values with the cache's memory for them.
template <class T>
struct CacheSide {
  const T* from;
  int64_t stride;
  void* to;
  float* scales;  // null where the cache is plain

  CacheSide(const Columns& c, const Tensor& blocks, const Tensor& of_tokens)
      : from(c.data<T>()), stride(c.stride()), to(blocks.raw()), scales(data_or_null<float>(of_tokens)) {}
};

/// One row of one head by a warp.
template <class T>
__device__ void write_row(const CacheWrite& w, const CacheSide<T>& side, const T* from, int64_t cache_row) {
  constexpr int kColumns = kWarp * kPack;
  float largest = 0;
  for (int64_t c = lane() * kPack; side.scales != nullptr && c < w.head_dim; c += kColumns) {
    float x[kPack];
    load(from + c, pack_size(c, w.head_dim), x);
    for (const float value : x) largest = fmaxf(largest, fabsf(value));
  }
  const float scale = warp_reduce(largest, Max()) / 127;
  for (int64_t c = lane() * kPack; c < w.head_dim; c += kColumns) {
    const int count = pack_size(c, w.head_dim);
    const int64_t at = cache_row * w.head_dim + c;
    float x[kPack];
    load(from + c, count, x);
    if (side.scales == nullptr) {
      store(static_cast<T*>(side.to) + at, count, x);
      continue;
    }
    for (int i = 0; i < count; ++i) {
      static_cast<int8_t*>(side.to)[at + i] = static_cast<int8_t>(scale > 0 ? rintf(x[i] / scale) : 0.0f);
    }
  }
  if (side.scales != nullptr && lane() == 0) side.scales[cache_row] = scale;
}

template <class T>
__global__ void write_kernel(CacheWrite w, CacheSide<T> keys, CacheSide<T> values) {
  const int64_t warps = blockDim.x / kWarp, tasks = w.rows * w.kv_heads * 2;
  for (int64_t i = blockIdx.x * warps + threadIdx.x / kWarp; i < tasks; i += gridDim.x * warps) {
    const int64_t row = i / (2 * w.kv_heads), head = i / 2 % w.kv_heads, place = w.places[row];
    const int64_t block = w.tables[w.sequences[row] * w.table_width + place / w.block_tokens];
    const int64_t cache_row = (block * w.kv_heads + head) * w.block_tokens + place % w.block_tokens;
    const CacheSide<T>& side = i % 2 == 0 ? keys : values;
    write_row(w, side, side.from + row * side.stride + head * w.head_dim, cache_row);
  }
}

/// Vectors of 16 bytes of block from[i] to block to[i].
__global__ void copy_kernel(std::byte* blocks, int64_t vectors, const int32_t* from, const int32_t* to) {
  auto* const all = reinterpret_cast<uint4*>(blocks);
  const uint4* const source = all + from[blockIdx.y] * vectors;
  uint4* const target = all + to[blockIdx.y] * vectors;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < vectors;
       i += int64_t{gridDim.x} * blockDim.x) {
    target[i] = source[i];
  }
}

}  // namespace

void store_keys_values(Context& ctx, const PagedRows& rows, const Columns& k, const Columns& v,
                       const KeyValueBlocks& blocks) {
  TRIREME_CHECK(k.dtype() == v.dtype() && (blocks.key_scales || k.dtype() == blocks.keys.dtype()),
                "keys of {} and values of {} into a cache of {}", to_string(k.dtype()), to_string(v.dtype()),
                to_string(blocks.keys.dtype()));
  constexpr int kThreads = 128;
  const CacheWrite w{rows.block_tables.data<int32_t>(),
                     rows.sequences.data<int32_t>(),
                     rows.places.data<int32_t>(),
                     rows.num_rows(),
                     rows.block_tables.dim(1),
                     blocks.num_kv_heads(),
                     blocks.head_dim,
                     blocks.block_tokens};
  with_compute_type(k.dtype(), [&]<class T>(T) {
    launch(ctx, write_kernel<T>, num_blocks(ceil_div(w.rows * w.kv_heads * 2, kThreads / kWarp)), kThreads, 0,
           w, CacheSide<T>(k, blocks.keys, blocks.key_scales),
           CacheSide<T>(v, blocks.values, blocks.value_scales));
  });
}

void copy_blocks(Context& ctx, const KeyValueBlocks& blocks, const std::vector<int32_t>& from,
                 const std::vector<int32_t>& to) {
  constexpr int kThreads = 256;
  const auto count = static_cast<int64_t>(from.size());
  const Tensor sources = to_device(ctx, from, {count}), targets = to_device(ctx, to, {count});
  for (const Tensor& t : {blocks.keys, blocks.values, blocks.key_scales, blocks.value_scales}) {
    if (!t) continue;
    const int64_t vectors = t.bytes() / t.dim(0) / static_cast<int64_t>(sizeof(uint4));
    launch(ctx, copy_kernel, dim3(num_blocks(ceil_div(vectors, kThreads), 64), static_cast<unsigned>(count)),
           kThreads, 0, static_cast<std::byte*>(t.raw()), vectors, sources.data<int32_t>(),
           targets.data<int32_t>());
  }
}

}  // namespace trireme::ops::cuda

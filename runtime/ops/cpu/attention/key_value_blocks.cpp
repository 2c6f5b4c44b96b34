// What is written into a cache. A block of a head holds its keys transposed, [head_dim, block_tokens], so
// that scores of neighbouring tokens are computed in one vector, and its values as rows, [block_tokens,
// head_dim].
#include <cmath>
#include <cstring>
#include <limits>

#include "runtime/ops/attention/paged_attention.h"
#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

// The codes of n numbers, `stride` apart, and what they are multiplied by; not finite numbers give NaN.
template <class T>
float quantize(const T* from, int64_t n, uint8_t* to, int64_t stride) {
  float largest = 0;
  bool finite = true;
  for (int64_t i = 0; i < n; ++i) {
    const float size = std::abs(static_cast<float>(from[i]));
    finite = finite && std::isfinite(size);
    largest = std::max(largest, size);
  }
  const float scale = largest / 127.0f;
  for (int64_t i = 0; i < n; ++i) {
    float code = 0;
    if (finite && scale > 0)
      code = std::clamp(std::nearbyint(static_cast<float>(from[i]) / scale), -127.0f, 127.0f);
    to[i * stride] = static_cast<uint8_t>(static_cast<int8_t>(code));
  }
  return finite ? scale : std::numeric_limits<float>::quiet_NaN();
}

// One token of one head.
template <class T>
void store_token(const T* k, const T* v, int64_t head, int64_t within, const KeyValueBlocks& blocks) {
  const int64_t d = blocks.head_dim, tokens = blocks.block_tokens;
  const int64_t key = head * d * tokens + within, value = (head * tokens + within) * d;
  if (blocks.keys.dtype() == DType::u8) {
    const int64_t scale = head * tokens + within;
    blocks.key_scales.data<float>()[scale] = quantize(k, d, blocks.keys.data<uint8_t>() + key, tokens);
    blocks.value_scales.data<float>()[scale] = quantize(v, d, blocks.values.data<uint8_t>() + value, 1);
    return;
  }
  T* keys = blocks.keys.data<T>() + key;
  for (int64_t i = 0; i < d; ++i) keys[i * tokens] = k[i];
  std::copy_n(v, d, blocks.values.data<T>() + value);
}

// Blocks lie one after the other in each of the tensors.
void copy_blocks_of(const Tensor& all, int32_t from, int32_t to) {
  const int64_t bytes = all.bytes() / all.dim(0);
  auto* begin = static_cast<std::byte*>(all.raw());
  std::memcpy(begin + to * bytes, begin + from * bytes, static_cast<size_t>(bytes));
}

}  // namespace

void store_keys_values(Context& ctx, const PagedRows& rows, const Columns& k, const Columns& v,
                       const KeyValueBlocks& blocks) {
  const int64_t heads = blocks.num_kv_heads(), d = blocks.head_dim, tokens = blocks.block_tokens;
  const auto* tables = rows.block_tables.data<int32_t>();
  with_compute_type(k.dtype(), [&]<class T>(T) {
    parallel_for(ctx.num_threads(), rows.num_rows(), row_grain(2 * heads * d),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t r = begin; r < end; ++r) {
                     const int64_t place = rows.places.data<int32_t>()[r],
                                   sequence = rows.sequences.data<int32_t>()[r];
                     const int64_t block = tables[sequence * rows.block_tables.dim(1) + place / tokens];
                     for (int64_t h = 0; h < heads; ++h) {
                       store_token(k.row<T>(r) + h * d, v.row<T>(r) + h * d, block * heads + h,
                                   place % tokens, blocks);
                     }
                   }
                 });
  });
}

void copy_blocks(Context& ctx, const KeyValueBlocks& blocks, const std::vector<int32_t>& from,
                 const std::vector<int32_t>& to) {
  parallel_for(ctx.num_threads(), std::ssize(from), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (const Tensor* all : {&blocks.keys, &blocks.values, &blocks.key_scales, &blocks.value_scales}) {
        if (*all) copy_blocks_of(*all, from[static_cast<size_t>(i)], to[static_cast<size_t>(i)]);
      }
    }
  });
}

}  // namespace trireme::ops::cpu

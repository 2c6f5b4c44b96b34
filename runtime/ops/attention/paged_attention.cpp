#include "runtime/ops/attention/paged_attention.h"

#include <algorithm>

#include "runtime/device/cpu/cpu_device.h"

namespace trireme::ops {

namespace {

void expect_rows(const char* op, const PagedRows& rows, const KeyValueBlocks& blocks) {
  const int64_t n = rows.num_rows(), sequences = rows.num_sequences();
  TRIREME_CHECK(std::ssize(rows.starts) == sequences + 1, "{}: {} starts of {} sequences", op,
                rows.starts.size(), sequences);
  expect_shape(op, "sequences", rows.sequences, {n});
  expect_shape(op, "places", rows.places, {n});
  expect_dtype(op, "block_tables", rows.block_tables, DType::i32);
  const int64_t most = rows.block_tables.dim(1) * blocks.block_tokens;
  for (int64_t s = 0; s < sequences; ++s) {
    const auto i = static_cast<size_t>(s);
    TRIREME_CHECK(rows.starts[i] < rows.starts[i + 1] && rows.lengths[i] <= most &&
                      rows.lengths[i] >= rows.starts[i + 1] - rows.starts[i],
                  "{}: sequence {} has rows {} to {}, length {} and room for {}", op, s, rows.starts[i],
                  rows.starts[i + 1], rows.lengths[i], most);
  }
}

// Of the keys that the rows see: two products of the head size each.
OpWork work_of(const PagedShape& shape, const PagedRows& rows, const KeyValueBlocks& blocks, const Columns& q,
               const Tensor& out) {
  double pairs = 0, keys = 0;
  for (size_t s = 0; s < rows.lengths.size(); ++s) {
    const int64_t count = rows.starts[s + 1] - rows.starts[s], length = rows.lengths[s];
    const auto seen = [&](int64_t place) {
      return static_cast<double>(count_seen(shape.pattern, shape.window, place, 0, place + 1));
    };
    for (int64_t i = length - count; i < length; ++i) pairs += seen(i);
    keys += std::min(static_cast<double>(length), seen(length - count) + static_cast<double>(count));
  }
  const auto width = static_cast<double>(shape.head_dim * shape.num_kv_heads);
  return {.flops = 4.0 * pairs * static_cast<double>(shape.num_heads * shape.head_dim),
          .bytes = bytes_of(q, out) + 2 * keys * width * static_cast<double>(size_of(blocks.keys.dtype()))};
}

}  // namespace

KeyValueBlocks make_key_value_blocks(Context& ctx, int64_t num_blocks, int64_t num_kv_heads, int64_t head_dim,
                                     int64_t block_tokens, DType dtype, CacheType type) {
  TRIREME_CHECK(block_tokens > 0 && block_tokens % 16 == 0, "blocks of {} tokens", block_tokens);
  TRIREME_CHECK(is_compute_type(dtype), "a cache of {}", to_string(dtype));
  KeyValueBlocks blocks;
  const DType stored = type == CacheType::plain ? dtype : DType::u8;
  const Shape shape{num_blocks, num_kv_heads, block_tokens * head_dim};
  blocks.keys = Tensor::empty(ctx, shape, stored, MemoryCategory::buffers);
  blocks.values = Tensor::empty(ctx, shape, stored, MemoryCategory::buffers);
  if (type == CacheType::int8) {
    const Shape scales{num_blocks, num_kv_heads, block_tokens};
    blocks.key_scales = Tensor::empty(ctx, scales, DType::f32, MemoryCategory::buffers);
    blocks.value_scales = Tensor::empty(ctx, scales, DType::f32, MemoryCategory::buffers);
  }
  // A block has a piece of each of these, on all layers: as many huge pages would take as long to clear as
  // many passes.
  for (const Tensor* t : {&blocks.keys, &blocks.values}) {
    if (ctx.device().type == DeviceType::cpu && t->bytes() > 0)
      trireme::cpu::use_small_pages(t->raw(), static_cast<size_t>(t->bytes()));
  }
  blocks.block_tokens = block_tokens;
  blocks.head_dim = head_dim;
  return blocks;
}

int64_t key_value_block_bytes(int64_t num_kv_heads, int64_t head_dim, int64_t block_tokens, DType dtype,
                              CacheType type) {
  const auto element = static_cast<int64_t>(size_of(type == CacheType::plain ? dtype : DType::u8));
  const int64_t scale = type == CacheType::plain ? 0 : static_cast<int64_t>(sizeof(float));
  return 2 * num_kv_heads * block_tokens * (head_dim * element + scale);
}

void store_keys_values(Context& ctx, const PagedRows& rows, const Columns& k, const Columns& v,
                       const KeyValueBlocks& blocks) {
  expect_rows("store_keys_values", rows, blocks);
  const int64_t width = blocks.num_kv_heads() * blocks.head_dim;
  expect_columns("store_keys_values", "k", k, rows.num_rows(), width);
  expect_columns("store_keys_values", "v", v, rows.num_rows(), width);
  if (rows.num_rows() == 0) return;
  TRIREME_DISPATCH(store_keys_values, ctx, rows, k, v, blocks);
}

void paged_attention(Context& ctx, const PagedShape& shape, const PagedRows& rows, const Columns& q,
                     const KeyValueBlocks& blocks, const Tensor& out) {
  expect_rows("paged_attention", rows, blocks);
  expect_columns("paged_attention", "q", q, rows.num_rows(), shape.num_heads * shape.head_dim);
  expect_shape("paged_attention", "out", out, {rows.num_rows(), shape.num_heads * shape.head_dim});
  TRIREME_CHECK(shape.head_dim == blocks.head_dim && shape.num_kv_heads == blocks.num_kv_heads() &&
                    shape.num_heads % shape.num_kv_heads == 0,
                "paged_attention: {} heads of {}, {} of keys, in a cache of {} of {}", shape.num_heads,
                shape.head_dim, shape.num_kv_heads, blocks.num_kv_heads(), blocks.head_dim);
  TRIREME_CHECK(why_not(shape.pattern).empty(), "paged_attention: {}", why_not(shape.pattern));
  if (rows.num_rows() == 0) return;
  TRIREME_DISPATCH_WORK(work_of(shape, rows, blocks, q, out), paged_attention, ctx, shape, rows, q, blocks,
                        out);
}

void copy_blocks(Context& ctx, const KeyValueBlocks& blocks, const std::vector<int32_t>& from,
                 const std::vector<int32_t>& to) {
  TRIREME_CHECK(from.size() == to.size(), "copy_blocks: {} from, {} to", from.size(), to.size());
  if (from.empty()) return;
  TRIREME_DISPATCH(copy_blocks, ctx, blocks, from, to);
}

}  // namespace trireme::ops

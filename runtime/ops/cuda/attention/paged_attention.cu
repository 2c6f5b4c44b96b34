#include <limits>
#include <type_traits>

#include "runtime/ops/cuda/attention/paged_rows.cuh"

namespace trireme::ops::cuda {

namespace {

StoredType stored_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return StoredType::f32;
    case DType::bf16:
      return StoredType::bf16;
    case DType::f16:
      return StoredType::f16;
    default:
      return StoredType::int8;
  }
}

PagedKernel kernel_of(const PagedShape& s, const PagedRows& rows, const Columns& q,
                      const KeyValueBlocks& blocks, const Tensor& out) {
  return {.q = q.raw(),
          .keys = blocks.keys.raw(),
          .values = blocks.values.raw(),
          .key_scales = data_or_null<float>(blocks.key_scales),
          .value_scales = data_or_null<float>(blocks.value_scales),
          .out = out.raw(),
          .tables = rows.block_tables.data<int32_t>(),
          .sums = nullptr,
          .stats = nullptr,
          .q_stride = q.stride(),
          .table_width = rows.block_tables.dim(1),
          .num_heads = s.num_heads,
          .kv_heads = s.num_kv_heads,
          .head_dim = s.head_dim,
          .window = s.pattern ? 0 : s.window,
          .group = static_cast<int>(s.num_heads / s.num_kv_heads),
          .block_tokens = static_cast<unsigned>(blocks.block_tokens),
          .scale = s.scale,
          .soft_cap = s.soft_cap,
          .type = stored_type(out.dtype()),
          .stored = stored_type(blocks.keys.dtype()),
          .is_sparse = static_cast<bool>(s.pattern),
          .sparse_window = s.window,
          .pattern = s.pattern};
}

template <int C, int R>
void run_rows(Context& ctx, PagedKernel p, const PagedRows& rows, int64_t least, int64_t most) {
  using Plan = PagedRowsPlan<C, R>;
  const PagedTasks tasks = paged_tasks(rows, p, Plan::kRows, least, most);
  if (tasks.all.empty()) return;
  const PagedLaunch launched(ctx, p, tasks);
  launch(ctx, paged_rows_kernel<C, R>, dim3(launched.num_tasks(), static_cast<unsigned>(p.kv_heads)),
         Plan::kThreads, Plan::kBytes, p, launched.tasks());
  launched.merge(ctx, p);
}

/// Few rows of a sequence in small tiles, for which registers and shared memory do not lie idle.
template <int C>
void run_tiles(Context& ctx, const PagedKernel& p, const PagedRows& rows) {
  run_rows<C, 1>(ctx, p, rows, 0, 4);
  run_rows<C, 2>(ctx, p, rows, 4, 8);
  run_rows<C, 8>(ctx, p, rows, 8, std::numeric_limits<int64_t>::max());
}

}  // namespace

void paged_attention(Context& ctx, const PagedShape& shape, const PagedRows& rows, const Columns& q,
                     const KeyValueBlocks& blocks, const Tensor& out) {
  TRIREME_CHECK(shape.head_dim <= 256, "attention to heads of {}: at most 256", shape.head_dim);
  TRIREME_CHECK(q.dtype() == out.dtype() && (blocks.key_scales || q.dtype() == blocks.keys.dtype()),
                "queries of {} and a result of {} beside a cache of {}", to_string(q.dtype()),
                to_string(out.dtype()), to_string(blocks.keys.dtype()));
  const PagedKernel p = kernel_of(shape, rows, q, blocks, out);
  if (paged_attention_on_tensor_cores(ctx, p, rows)) return;
  if (shape.head_dim <= 64) return run_tiles<2>(ctx, p, rows);
  if (shape.head_dim <= 128) return run_tiles<4>(ctx, p, rows);
  run_tiles<8>(ctx, p, rows);
}

}  // namespace trireme::ops::cuda

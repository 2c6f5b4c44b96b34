#include <limits>

#include "runtime/ops/cuda/attention/paged_few.cuh"
#include "runtime/ops/cuda/attention/paged_many.cuh"

namespace trireme::ops::cuda {

namespace {

template <class T, int D, bool kInt8>
void run(Context& ctx, const PagedKernel& p, const PagedRows& rows) {
  const auto start = [&](auto kernel, int tile_rows, size_t bytes, int64_t least, int64_t most) {
    const PagedTasks tasks = paged_tasks(rows, p, tile_rows, least, most);
    if (tasks.all.empty()) return;
    PagedKernel own = p;
    const PagedLaunch launched(ctx, own, tasks);
    launch(ctx, kernel, dim3(launched.num_tasks(), static_cast<unsigned>(p.kv_heads)), kTileThreads, bytes,
           own, launched.tasks());
    launched.merge(ctx, own);
  };
  using Few = PagedFewPlan<T, D>;
  using Many = PagedManyPlan<T, D>;
  start(paged_few_kernel<T, D, kInt8>, Few::kRows, Few::kBytes, 0, Few::kRows);
  start(paged_many_kernel<T, D, kInt8>, Many::kRows, Many::kBytes, Few::kRows,
        std::numeric_limits<int64_t>::max());
}

template <class T, int D>
bool run_stored(Context& ctx, const PagedKernel& p, const PagedRows& rows) {
  if (p.stored == StoredType::int8) {
    run<T, D, true>(ctx, p, rows);
  } else {
    run<T, D, false>(ctx, p, rows);
  }
  return true;
}

}  // namespace

bool paged_attention_on_tensor_cores(Context& ctx, const PagedKernel& p, const PagedRows& rows) {
  const auto with_type = [&]<class T>(T) {
    if (p.head_dim == 64) return run_stored<T, 64>(ctx, p, rows);
    if (p.head_dim == 128) return run_stored<T, 128>(ctx, p, rows);
    return false;
  };
  if (p.type == StoredType::bf16) return with_type(bf16());
  return p.type == StoredType::f16 && with_type(fp16());
}

}  // namespace trireme::ops::cuda

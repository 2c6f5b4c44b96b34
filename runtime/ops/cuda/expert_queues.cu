// Tokens counted and queued by the experts they chose. No sorting and no atomics: runs are cut in chunks, a
// warp walks through each in its order, and the chunks' counts are summed in theirs.
#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/cuda/reduce.cuh"
#include "runtime/ops/routing.h"

namespace trireme::ops::cuda {

namespace {

/// Choices that a warp counts one after the other.
constexpr int64_t kChunk = 1024;

/// Calls visit(i, expert, q) for each choice i of [begin, end), the q-th of its expert as `counts` continues
/// counting. A warp takes 32 at once: lanes that name one expert queue in their order.
template <class Visit>
__device__ void count_in_order(const int32_t* chosen, int64_t begin, int64_t end, int num_experts,
                               int32_t* counts, const Visit& visit) {
  for (int64_t first = begin; first < end; first += kWarp) {
    const int64_t i = first + lane();
    const bool is_here = i < end;
    const int expert = is_here ? chosen[i] : -1;
    if (is_here) expect_index(expert, num_experts);
    const unsigned same = __match_any_sync(kAllLanes, expert);
    const int before = __popc(same & ((1u << lane()) - 1));
    if (is_here) visit(i, expert, counts[expert] + before);
    __syncwarp();
    if (is_here && before == 0) counts[expert] += __popc(same);
    __syncwarp();
  }
}

/// The runs of choices, each cut in chunks.
struct Chunks {
  int64_t per_run, chunks_a_run, total;
  int num_experts;

  Chunks(const Tensor& chosen, const Tensor& per_expert)
      : per_run(chosen.numel() / per_expert.dim(0)),
        chunks_a_run(ceil_div(per_run, kChunk)),
        total(per_expert.dim(0) * chunks_a_run),
        num_experts(static_cast<int>(per_expert.dim(1))) {}
};

/// counts[chunk, e] = how often the chunk's choices name expert e. A warp a chunk.
__global__ void count_kernel(Chunks c, const int32_t* chosen, int32_t* counts) {
  auto* own = shared_memory<int32_t>();
  for (int64_t chunk = blockIdx.x; chunk < c.total; chunk += gridDim.x) {
    const int64_t run = chunk / c.chunks_a_run, within = chunk % c.chunks_a_run * kChunk;
    const int64_t last = within + kChunk < c.per_run ? within + kChunk : c.per_run;
    for (int e = lane(); e < c.num_experts; e += kWarp) own[e] = 0;
    __syncwarp();
    count_in_order(chosen, run * c.per_run + within, run * c.per_run + last, c.num_experts, own,
                   [](int64_t, int, int) {});
    for (int e = lane(); e < c.num_experts; e += kWarp) counts[chunk * c.num_experts + e] = own[e];
    __syncwarp();
  }
}

/// A run's counts over its chunks become the counts before each chunk; totals (may be null): of the run.
struct SumChunks {
  Chunks chunks;
  int32_t* counts;
  int64_t* totals;
  __device__ void operator()(int64_t i, int count) const {
    for (int64_t at = i; at < i + count; ++at) {
      const int64_t run = at / chunks.num_experts, e = at % chunks.num_experts;
      int64_t sum = 0;
      for (int64_t c = run * chunks.chunks_a_run; c < (run + 1) * chunks.chunks_a_run; ++c) {
        int32_t& here = counts[c * chunks.num_experts + e];
        const int32_t number = here;
        here = static_cast<int32_t>(sum);
        sum += number;
      }
      if (totals != nullptr) totals[at] = sum;
    }
  }
};

__global__ void assign_kernel(Chunks c, const int32_t* chosen, const int32_t* counts, const int64_t* base,
                              const int64_t* ahead, int64_t capacity, int32_t* slots) {
  auto* own = shared_memory<int32_t>();
  for (int64_t chunk = blockIdx.x; chunk < c.total; chunk += gridDim.x) {
    const int64_t run = chunk / c.chunks_a_run, within = chunk % c.chunks_a_run * kChunk;
    const int64_t last = within + kChunk < c.per_run ? within + kChunk : c.per_run;
    for (int e = lane(); e < c.num_experts; e += kWarp) own[e] = counts[chunk * c.num_experts + e];
    __syncwarp();
    count_in_order(chosen, run * c.per_run + within, run * c.per_run + last, c.num_experts, own,
                   [&](int64_t i, int expert, int64_t q) {
                     const int64_t queue = run * c.num_experts + expert;
                     slots[i] = ahead[queue] + q < capacity ? static_cast<int32_t>(base[queue] + q) : -1;
                   });
  }
}

/// The counts before each chunk of choices, and those of the runs in `totals` if that is there.
Tensor counts_before(Context& ctx, const Chunks& c, const Tensor& chosen, const Tensor& totals,
                     int64_t num_runs) {
  const Tensor counts = Tensor::empty(ctx, {c.total, c.num_experts}, DType::i32, MemoryCategory::buffers);
  launch(ctx, count_kernel, num_blocks(c.total), kWarp, static_cast<size_t>(c.num_experts) * sizeof(int32_t),
         c, chosen.data<int32_t>(), counts.data<int32_t>());
  launch_elementwise(ctx, num_runs * c.num_experts,
                     SumChunks{c, counts.data<int32_t>(), data_or_null<int64_t>(totals)});
  return counts;
}

}  // namespace

void count_choices(Context& ctx, const Tensor& chosen, const Tensor& counts) {
  counts_before(ctx, {chosen, counts}, chosen, counts, counts.dim(0));
}

void assign_slots(Context& ctx, const Tensor& chosen, const Tensor& base, const Tensor& ahead,
                  int64_t capacity, const Tensor& slots) {
  const Chunks c(chosen, base);
  const Tensor counts = counts_before(ctx, c, chosen, {}, base.dim(0));
  launch(ctx, assign_kernel, num_blocks(c.total), kWarp, static_cast<size_t>(c.num_experts) * sizeof(int32_t),
         c, chosen.data<int32_t>(), counts.data<int32_t>(), base.data<int64_t>(), ahead.data<int64_t>(),
         capacity, slots.data<int32_t>());
}

}  // namespace trireme::ops::cuda

#include "runtime/ops/embedding.h"

#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/cuda/reduce.cuh"

namespace trireme::ops::cuda {

namespace {

template <class T>
struct Lookup {
  const int32_t *ids, *positions;  // positions and places may be null, together
  const T *tokens, *places;
  int64_t first, num_here, total, num_places, width;
  T* out;

  __device__ void operator()(int64_t n, int64_t column, int count) const {
    const int64_t row = ids[n] - first;
    expect_index(ids[n], total);
    float sum[kPack] = {};
    if (row >= 0 && row < num_here) load(tokens + row * width + column, count, sum);
    if (positions != nullptr) {
      float place[kPack];
      expect_index(positions[n], num_places);
      load(places + positions[n] * width + column, count, place);
      for (int j = 0; j < kPack; ++j) sum[j] += place[j];
    }
    store(out + n * width + column, count, sum);
  }
};

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

/// matches = the places n of [begin, begin + kThreads) with ids[n] == id, in their order; returns how many.
/// Every thread calls it; `matches` has room for kThreads, `counts` for kWarps.
__device__ int find_matches(const int32_t* ids, int64_t begin, int64_t end, int32_t id, int32_t* matches,
                            int32_t* counts) {
  const int64_t n = begin + threadIdx.x;
  const bool is_match = n < end && ids[n] == id;
  const unsigned ballot = __ballot_sync(kAllLanes, is_match ? 1 : 0);
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  if (lane == 0) counts[warp] = __popc(ballot);
  __syncthreads();
  int before = 0, total = 0;
  for (unsigned w = 0; w < kWarps; ++w) {
    if (w < warp) before += counts[w];
    total += counts[w];
  }
  if (is_match) matches[before + __popc(ballot & ((1u << lane) - 1))] = static_cast<int32_t>(threadIdx.x);
  __syncthreads();
  return total;
}

/// A block a place: unless its id stands earlier too, it adds all places with that id to the table's row, in
/// their order. Looking through the ids is quadratic in their number, but they are few bytes and stay in the
/// cache: no sorting, no atomics, no scratch memory.
template <class T>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(const int32_t* ids, int64_t num_ids, const T* dout, int64_t width, int64_t first,
                    int64_t num_here, int64_t total, float* dtable) {
  auto* matches = shared_memory<int32_t>();
  int32_t* counts = matches + kThreads;
  for (int64_t place = blockIdx.x; place < num_ids; place += gridDim.x) {
    const int32_t id = ids[place];
    const int64_t row = id - first;
    expect_index(id, total);
    if (row < 0 || row >= num_here) continue;
    bool is_first = true;
    for (int64_t begin = 0; begin < place && is_first; begin += kThreads) {
      is_first = find_matches(ids, begin, place, id, matches, counts) == 0;
    }
    if (!is_first) continue;
    for (int64_t begin = place; begin < num_ids; begin += kThreads) {
      const int found = find_matches(ids, begin, num_ids, id, matches, counts);
      for (int64_t c = int64_t{threadIdx.x} * kPack; found > 0 && c < width; c += int64_t{kThreads} * kPack) {
        const int count = pack_size(c, width);
        float sum[kPack];
        load(dtable + row * width + c, count, sum);
        for (int m = 0; m < found; ++m) {
          float values[kPack];
          load(dout + (begin + matches[m]) * width + c, count, values);
          for (int j = 0; j < kPack; ++j) sum[j] += values[j];
        }
        store(dtable + row * width + c, count, sum);
      }
      __syncthreads();
    }
  }
}

}  // namespace

void embedding(Context& ctx, const Tensor& ids, const Tensor& token_table, const TablePart& part,
               const Tensor& positions, const Tensor& position_table, const Tensor& out) {
  const int64_t width = out.dim(1);
  with_compute_type(out.dtype(), [&]<class T>(T) {
    launch_rows(ctx, out.dim(0), width,
                Lookup<T>{ids.data<int32_t>(), data_or_null<int32_t>(positions), token_table.data<T>(),
                          data_or_null<T>(position_table), part.first, token_table.dim(0), part.total,
                          positions ? position_table.dim(0) : 0, width, out.data<T>()});
  });
}

void embedding_backward(Context& ctx, const Tensor& ids, const Tensor& dout, const TablePart& part,
                        const Tensor& dtable) {
  with_compute_type(dout.dtype(), [&]<class T>(T) {
    launch(ctx, backward_kernel<T>, num_blocks(dout.dim(0)), kThreads, (kThreads + kWarps) * sizeof(int32_t),
           ids.data<int32_t>(), dout.dim(0), dout.data<T>(), dout.dim(1), part.first, dtable.dim(0),
           part.total, dtable.data<float>());
  });
}

}  // namespace trireme::ops::cuda

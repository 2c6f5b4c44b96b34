#include "runtime/ops/cuda/gemm/float8.cuh"

#include "runtime/ops/cuda/gemm/transpose_codes.h"
#include "runtime/ops/cuda/reduce.cuh"
#include "runtime/ops/gemm/float8.h"

namespace trireme::ops::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 1024;
constexpr size_t kScratch = kThreads / kWarp * sizeof(float);

__device__ bool is_finite(float x) { return (__float_as_uint(x) & 0x7fffffffu) < 0x7f800000u; }

/// largest[block] = the largest magnitude of the finite values that the block looks at.
template <class T>
__global__ void largest_kernel(const T* t, int64_t n, float* largest) {
  float most = 0;
  const int64_t step = int64_t{gridDim.x} * kThreads * kPack;
  for (int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kPack; i < n; i += step) {
    float x[kPack];
    load(t + i, pack_size(i, n), x);
    for (const float value : x) most = fmaxf(most, is_finite(value) ? fabsf(value) : 0.0f);
  }
  most = block_reduce(most, Max{}, shared_memory<float>());
  if (threadIdx.x == 0) largest[blockIdx.x] = most;
}

/// The smallest power of two s, no subnormal, with largest / s <= limit.
__device__ float scale_for(float largest, float limit) {
  if (largest == 0) return 1;
  int exponent = 0, limit_exponent = 0;
  const float mantissa = frexpf(largest, &exponent), limit_mantissa = frexpf(limit, &limit_exponent);
  const int power = exponent - limit_exponent + (mantissa > limit_mantissa ? 1 : 0);
  return ldexpf(1.0f, power > -126 ? power : -126);
}

/// One block: the scale for the largest of `largest`.
__global__ void scale_kernel(const float* largest, int64_t count, float limit, float* scale) {
  float most = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) most = fmaxf(most, largest[i]);
  most = block_reduce(most, Max{}, shared_memory<float>());
  if (threadIdx.x == 0) scale[0] = scale_for(most, limit);
}

template <class In, class Out>
struct Quantize {
  const In* x;
  const float* scale;
  Out* out;
  __device__ void operator()(int64_t i, int count) const {
    float value[kPack];
    load(x + i, count, value);
    const float factor = 1.0f / scale[0];
    Codes codes;
    for (int j = 0; j < kPack; j += 2) {
      unsigned pair = encode_pair<Out>(value[j] * factor, value[j + 1] * factor);
      if (!is_finite(value[j])) pair = (pair & 0xff00u) | Out::kNaNCode;
      if (!is_finite(value[j + 1])) pair = (pair & 0xffu) | unsigned{Out::kNaNCode} << 8;
      codes.pairs[j / 2] = static_cast<uint16_t>(pair);
    }
    store_codes(out + i, count, codes);
  }
};

template <class In, class Out>
struct Dequantize {
  const In* x;
  const float* scale;
  Out* y;
  __device__ void operator()(int64_t i, int count) const {
    float value[kPack];
    load_codes(x + i, count, value);
    for (float& v : value) v *= scale[0];
    store(y + i, count, value);
  }
};

template <class Body>
void with_float8(DType dtype, Body&& body) {
  return dtype == DType::f8e4m3 ? body(fp8_e4m3{}) : body(fp8_e5m2{});
}

constexpr int kTile = 32, kTileRows = 8;

/// A block a tile of 32 x 32 bytes; the bank of a byte differs from its neighbours' along both dims.
__global__ void transpose_kernel(const uint8_t* from, int64_t rows, int64_t columns, uint8_t* to) {
  auto* tile = shared_memory<uint8_t>();
  const int64_t row = int64_t{blockIdx.y} * kTile, column = int64_t{blockIdx.x} * kTile;
  constexpr int kStride = kTile + 4;
  for (int64_t r = threadIdx.y; r < kTile && row + r < rows; r += kTileRows) {
    if (column + threadIdx.x < columns) {
      tile[r * kStride + threadIdx.x] = from[(row + r) * columns + column + threadIdx.x];
    }
  }
  __syncthreads();
  for (int64_t c = threadIdx.y; c < kTile && column + c < columns; c += kTileRows) {
    if (row + threadIdx.x < rows) {
      to[(column + c) * rows + row + threadIdx.x] = tile[threadIdx.x * kStride + c];
    }
  }
}

}  // namespace

void quantize(Context& ctx, const Tensor& x, const ScaledTensor& out) {
  const unsigned blocks = num_blocks(ceil_div(x.numel(), kThreads * kPack), kMostBlocks);
  const Tensor largest = Tensor::empty(ctx, {blocks}, DType::f32, MemoryCategory::buffers);
  auto* scale = out.scale.data<float>();
  with_compute_type(x.dtype(), [&]<class In>(In) {
    with_float8(out.values.dtype(), [&]<class Out>(Out) {
      Out limit;
      limit.bits = Out::kMaxCode;
      launch(ctx, largest_kernel<In>, blocks, kThreads, kScratch, x.data<In>(), x.numel(),
             largest.data<float>());
      launch(ctx, scale_kernel, 1, kThreads, kScratch, largest.data<float>(), largest.numel(), limit, scale);
      launch_elementwise(ctx, x.numel(), Quantize<In, Out>{x.data<In>(), scale, out.values.data<Out>()});
    });
  });
}

void dequantize(Context& ctx, const ScaledTensor& x, const Tensor& y) {
  with_float8(x.values.dtype(), [&]<class In>(In) {
    with_compute_type(y.dtype(), [&]<class Out>(Out) {
      launch_elementwise(ctx, y.numel(),
                         Dequantize<In, Out>{x.values.data<In>(), x.scale.data<float>(), y.data<Out>()});
    });
  });
}

Tensor transposed_codes(Context& ctx, const Tensor& codes) {
  const int64_t rows = codes.dim(0), columns = codes.dim(1);
  const Tensor out = Tensor::empty(ctx, {columns, rows}, codes.dtype(), MemoryCategory::buffers);
  const dim3 grid(static_cast<unsigned>(ceil_div(columns, kTile)),
                  static_cast<unsigned>(ceil_div(rows, kTile)));
  launch(ctx, transpose_kernel, grid, dim3(kTile, kTileRows), kTile * (kTile + 4),
         static_cast<const uint8_t*>(codes.raw()), rows, columns, static_cast<uint8_t*>(out.raw()));
  return out;
}

}  // namespace trireme::ops::cuda

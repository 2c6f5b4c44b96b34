// The host's stand-in for CUDA finds the faults that it is there for.
#include <atomic>
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/ops/cuda/reduce.cuh"
#include "runtime/ops/elementwise.h"
#include "tests/support/tensors.h"
#include "tests/support/test_device.h"

namespace trireme::test {
namespace {

using ops::cuda::launch;
using ops::cuda::shared_memory;
using testing::HasSubstr;

template <class Run>
std::string fault_of(Run&& run) {
  try {
    run();
  } catch (const InternalError& error) {
    return error.what();
  }
  return "no fault";
}

class CudaOnHost : public testing::Test {
 protected:
  Tensor zeros(int64_t n) {
    return make_tensor(ctx_, {n}, DType::f32, std::vector<float>(static_cast<size_t>(n)));
  }
  Context ctx_{test_device()};
};

/// out = the row's elements in reverse, through shared memory, with the barrier between or without it.
__global__ void reverse_kernel(float* out, bool with_barrier) {
  auto* tile = shared_memory<float>();
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  if (with_barrier) __syncthreads();
  out[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

TEST_F(CudaOnHost, AMissingBarrierIsFound) {
  const Tensor out = zeros(64);
  launch(ctx_, reverse_kernel, 1, 64, 64 * sizeof(float), out.data<float>(), true);
  EXPECT_EQ(to_vector(out)[0], 63.0f);
  EXPECT_THAT(
      fault_of([&] { launch(ctx_, reverse_kernel, 1, 64, 64 * sizeof(float), out.data<float>(), false); }),
      HasSubstr("depend on the order of its threads"));
}

/// The sum of a block, whose scratch memory is used a second time with the barrier between or without it.
__global__ void two_sums_kernel(float* out, bool with_barrier) {
  auto* scratch = shared_memory<float>();
  for (int round = 0; round < 2; ++round) {
    const float sum = ops::cuda::warp_reduce(static_cast<float>(threadIdx.x + round), ops::cuda::Sum{});
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = sum;
    __syncthreads();
    out[round * blockDim.x + threadIdx.x] = scratch[0] + scratch[1];
    if (with_barrier) __syncthreads();
  }
}

TEST_F(CudaOnHost, SharedMemoryUsedAgainTooEarlyIsFound) {
  const Tensor out = zeros(128);
  launch(ctx_, two_sums_kernel, 1, 64, 2 * sizeof(float), out.data<float>(), true);
  EXPECT_EQ(to_vector(out)[5], 63.0f * 32);
  EXPECT_EQ(to_vector(out)[70], 64.0f * 32 + 32);
  EXPECT_THAT(
      fault_of([&] { launch(ctx_, two_sums_kernel, 1, 64, 2 * sizeof(float), out.data<float>(), false); }),
      HasSubstr("depend on the order of its threads"));
}

__global__ void uninitialised_kernel(float* out) { out[threadIdx.x] = shared_memory<float>()[threadIdx.x]; }

TEST_F(CudaOnHost, SharedMemoryThatNobodyWroteIsFound) {
  const Tensor out = zeros(32);
  EXPECT_THAT(fault_of([&] { launch(ctx_, uninitialised_kernel, 1, 32, 128, out.data<float>()); }),
              HasSubstr("depend on the order"));
}

/// Blocks that write to one place.
__global__ void colliding_kernel(float* out) { out[threadIdx.x] = static_cast<float>(blockIdx.x); }

TEST_F(CudaOnHost, BlocksThatWriteToOnePlaceAreFound) {
  const Tensor out = zeros(32);
  EXPECT_THAT(fault_of([&] { launch(ctx_, colliding_kernel, 2, 32, 0, out.data<float>()); }),
              HasSubstr("two threads write to one place"));
}

__global__ void divergent_kernel() {
  if (threadIdx.x < 40) __syncthreads();
}
__global__ void two_barriers_kernel() {
  if (threadIdx.x < 40) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

TEST_F(CudaOnHost, ABarrierThatSomeThreadsDoNotReachIsFound) {
  EXPECT_THAT(fault_of([&] { launch(ctx_, divergent_kernel, 1, 64, 0); }),
              HasSubstr("from thread 40: ended"));
  EXPECT_THAT(fault_of([&] { launch(ctx_, two_barriers_kernel, 1, 64, 0); }), HasSubstr("that do not come"));
  launch(ctx_, two_barriers_kernel, 1, 32,
         0);  // all threads take one way; and the fibers work after an error
}

__global__ void partial_warp_kernel(float* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, out[threadIdx.x], 1);
}
__global__ void half_mask_kernel(float* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_xor_sync(0xffffu, static_cast<float>(threadIdx.x), 1);
}
__global__ void foreign_mask_kernel() { __syncwarp(0xffu); }

TEST_F(CudaOnHost, LanesThatAMaskNamesInVainAreFound) {
  const Tensor out = zeros(32);
  EXPECT_THAT(fault_of([&] { launch(ctx_, partial_warp_kernel, 1, 32, 0, out.data<float>()); }),
              HasSubstr("mask 0xffffffff"));
  EXPECT_THAT(fault_of([&] { launch(ctx_, foreign_mask_kernel, 1, 32, 0); }),
              HasSubstr("not in its own mask"));
  launch(ctx_, half_mask_kernel, 1, 32, 0, out.data<float>());
  EXPECT_EQ(to_vector(out)[4], 5.0f);
  EXPECT_EQ(to_vector(out)[20], 0.0f);
}

__global__ void votes_kernel(float* out) {
  const unsigned odd = __ballot_sync(0xffffffffu, threadIdx.x % 2);
  const float below = __shfl_down_sync(0xffffffffu, static_cast<float>(threadIdx.x), 3);
  const float fifth = __shfl_sync(0xffffffffu, static_cast<float>(threadIdx.x), 5);
  const int any = __any_sync(0xffffffffu, threadIdx.x == 9), all = __all_sync(0xffffffffu, threadIdx.x == 9);
  out[threadIdx.x] = odd == 0xaaaaaaaau && fifth == 5.0f && any == 1 && all == 0 ? below : -1.0f;
}

TEST_F(CudaOnHost, VotesAndShuffles) {
  const Tensor out = zeros(32);
  launch(ctx_, votes_kernel, 1, 32, 0, out.data<float>());
  for (size_t i = 0; i < 32; ++i) EXPECT_EQ(to_vector(out)[i], static_cast<float>(i + 3 < 32 ? i + 3 : i));
}

__global__ void count_kernel(float* out) { atomicAdd(out, 1.0f); }

TEST_F(CudaOnHost, GridsOfThreeDimensionsAndAtomics) {
  const Tensor out = zeros(1);
  launch(ctx_, count_kernel, dim3(3, 2, 2), dim3(8, 4, 3), 0, out.data<float>());
  EXPECT_EQ(to_vector(out)[0], 12.0f * 96.0f);
}

TEST_F(CudaOnHost, SizesThatADeviceRefusesAreRefused) {
  EXPECT_THROW(launch(ctx_, divergent_kernel, 1, 1025, 0), EnvironmentError);
  EXPECT_THROW(launch(ctx_, divergent_kernel, dim3(1, 70000), 32, 0), EnvironmentError);
  EXPECT_THROW(launch(ctx_, divergent_kernel, 1, 32, 200 << 10), EnvironmentError);
  cudaLaunchConfig_t config;
  config.dynamicSmemBytes = 50 << 10;
  EXPECT_NE(cudaLaunchKernelEx(&config, uninitialised_kernel, nullptr), cudaSuccess)
      << "more than it asked for";
}

/// What crashes where the device has memory of its own.
TEST(CudaOnHostDeathTest, AHostThatTouchesDeviceMemoryIsFound) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Context ctx(test_device());
  const Tensor t = make_tensor(ctx, {7}, DType::f32, std::vector<float>(7));
  EXPECT_DEATH(t.data<float>()[3] = 1.0f, "the host touches device memory");
  EXPECT_DEATH(std::exit(t.data<float>()[3] == 1.0f), "the host touches device memory");
  std::vector<std::byte> bytes(28);
  EXPECT_DEATH(std::memcpy(bytes.data(), t.raw(), 28), "the host touches device memory");
}

TEST_F(CudaOnHost, OpsAndCopiesOnTensorsOfTheHostAreRefused) {
  std::vector<float> values(7);
  const Tensor of_host = Tensor::borrow(values.data(), {7}, DType::f32), t = zeros(7);
  EXPECT_THAT(fault_of([&] { ops::fill(ctx_, of_host, 1); }), HasSubstr("fill: a tensor lies on cpu"));
  EXPECT_THAT(fault_of([&] { ops::copy(ctx_, of_host, t); }), HasSubstr("copy: a tensor lies on cpu"));
  EXPECT_THAT(fault_of([&] {
                ops::copy_columns(ctx_, {t.view({1, 7}), 0, 7}, {of_host.view({1, 7}), 0, 7});
              }),
              HasSubstr("copy_columns: a tensor lies on cpu"));
  EXPECT_THROW(ops::cuda::copy(ctx_, of_host, t), EnvironmentError) << "called a copy within the device";
}

TEST_F(CudaOnHost, StreamsKeepTheirOrderAndEventsHoldThemBack) {
  const auto first = cuda::make_compute_stream(0), second = cuda::make_compute_stream(0);
  std::atomic<bool> may_go = false;
  cuda::raw_stream(*first)->submit([&] { may_go.wait(false); });
  const auto event = first->record();
  second->wait(*event);
  const auto behind = second->record();
  EXPECT_FALSE(event->is_done());
  EXPECT_FALSE(behind->is_done());
  may_go = true;
  may_go.notify_all();
  second->synchronize();
  EXPECT_TRUE(event->is_done());
  EXPECT_TRUE(behind->is_done());
}

#ifdef __SANITIZE_ADDRESS__

__global__ void out_of_bounds_kernel(float* out, int index) { out[index] = 1.0f; }
__global__ void out_of_shared_kernel(int index) { shared_memory<float>()[index] = 1.0f; }

TEST(CudaOnHostDeathTest, IndicesOutOfBoundsAreFound) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Context ctx(test_device());
  const Tensor out = make_tensor(ctx, {7}, DType::f32, std::vector<float>(7));
  launch(ctx, out_of_bounds_kernel, 1, 1, 0, out.data<float>(), 6);
  EXPECT_DEATH(launch(ctx, out_of_bounds_kernel, 1, 1, 0, out.data<float>(), 7), "AddressSanitizer");
  EXPECT_DEATH(launch(ctx, out_of_bounds_kernel, 1, 1, 0, out.data<float>(), -1), "AddressSanitizer");
  launch(ctx, out_of_shared_kernel, 1, 1, 12, 2);
  EXPECT_DEATH(launch(ctx, out_of_shared_kernel, 1, 1, 12, 3), "AddressSanitizer");
}

#endif

}  // namespace
}  // namespace trireme::test

// The host's stand-in for CUDA finds the errors that it is there for.
#include <atomic>
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/ops/cuda/async_copy.cuh"
#include "runtime/ops/cuda/reduce.cuh"
#include "runtime/ops/elementwise.h"
#include "tests/support/cuda_on_host/launch.h"
#include "tests/support/tensors.h"
#include "tests/support/test_device.h"
#include "tests/support/tier.h"

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

#ifdef __SANITIZE_ADDRESS__
// For the conformance suite; the release build compares orders, and here the sanitizer looks at one of them.
[[maybe_unused]] const bool kComparesOrders = cuda_on_host::compares_orders = whole_tier();
#endif

class CudaOnHost : public testing::Test {
 protected:
  CudaOnHost() { cuda_on_host::compares_orders = true; }
  ~CudaOnHost() override { cuda_on_host::compares_orders = compared_before_; }
  Tensor zeros(int64_t n) {
    return make_tensor(ctx_, {n}, DType::f32, std::vector<float>(static_cast<size_t>(n)));
  }
  Context ctx_{test_device()};

 private:
  bool compared_before_ = cuda_on_host::compares_orders;
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

enum class CopyFault { none, no_wait, too_short_wait, no_barrier, used_again, left, uncommitted };

/// out = the elements of `in` in reverse, sixteen bytes a thread, as a group behind which another one
/// follows; for two inputs, one after the other, through one place in shared memory.
__global__ void copied_reverse_kernel(const float* in, float* out, CopyFault fault) {
  auto* tile = shared_memory<float>();
  const unsigned own = threadIdx.x * 4, elements = blockDim.x * 4;
  for (int round = 0; round < 2; ++round) {
    ops::cuda::copy_async<16>(tile + own, in + own, true);
    if (fault != CopyFault::uncommitted) ops::cuda::commit_copies();
    ops::cuda::copy_async<4>(tile + elements + threadIdx.x, in, threadIdx.x % 2 == 0);
    if (fault != CopyFault::uncommitted) ops::cuda::commit_copies();
    if (fault == CopyFault::too_short_wait)
      ops::cuda::wait_for_copies<2>();
    else if (fault != CopyFault::no_wait)
      ops::cuda::wait_for_copies<1>();
    if (fault != CopyFault::no_barrier) __syncthreads();
    for (unsigned i = own; i < own + 4; ++i) out[i] = tile[elements - 1 - i];
    if (fault != CopyFault::left) ops::cuda::wait_for_copies();
    out[elements + threadIdx.x] = tile[elements + threadIdx.x];
    if (fault != CopyFault::used_again) __syncthreads();
    in += elements;
    out += elements + blockDim.x;
  }
}

TEST_F(CudaOnHost, AsynchronousCopiesArriveAtTheWaitAndNoSooner) {
  const unsigned threads = 64, elements = threads * 4;
  std::vector<float> values(2 * elements);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i + 1);
  const Tensor in = make_tensor(ctx_, {2 * elements}, DType::f32, values),
               out = zeros(2 * (elements + threads));
  const auto fault_with = [&](CopyFault fault) {
    return fault_of([&] {
      launch(ctx_, copied_reverse_kernel, 1, threads, (elements + threads) * sizeof(float), in.data<float>(),
             out.data<float>(), fault);
    });
  };
  EXPECT_EQ(fault_with(CopyFault::none), "no fault");
  EXPECT_EQ(to_vector(out)[0], 256.0f);
  EXPECT_EQ(to_vector(out)[elements], 1.0f);
  EXPECT_EQ(to_vector(out)[elements + 1], 0.0f) << "of a copy that is not there";
  EXPECT_THAT(fault_with(CopyFault::no_wait), HasSubstr("wait for a copy is missing"));
  EXPECT_THAT(fault_with(CopyFault::too_short_wait), HasSubstr("wait for a copy is missing"));
  EXPECT_THAT(fault_with(CopyFault::no_barrier), HasSubstr("depend on the order of its threads"));
  EXPECT_THAT(fault_with(CopyFault::used_again), HasSubstr("depend on the order of its threads"));
  EXPECT_THAT(fault_with(CopyFault::left), HasSubstr("asynchronous copies: 1 in groups, 0 in none"));
  EXPECT_THAT(fault_with(CopyFault::uncommitted), HasSubstr("asynchronous copies: 0 in groups, 4 in none"));
}

__global__ void copy_kernel(const float* in, int to, int from) {
  ops::cuda::copy_async<16>(shared_memory<float>() + to, in + from, true);
  ops::cuda::commit_copies();
  ops::cuda::wait_for_copies();
}

TEST_F(CudaOnHost, AsynchronousCopiesToAndFromWrongAddressesAreRefused) {
  const Tensor in = zeros(16);
  const auto fault_with = [&](int to, int from) {
    return fault_of([&] { launch(ctx_, copy_kernel, 1, 1, 48, in.data<float>(), to, from); });
  };
  EXPECT_EQ(fault_with(8, 12), "no fault");
  EXPECT_THAT(fault_with(12, 0), HasSubstr("leads out of shared memory, to its byte 48"));
  EXPECT_THAT(fault_with(-4, 0), HasSubstr("to its byte -16"));
  EXPECT_THAT(fault_with(2, 0), HasSubstr("have to be multiples"));
  EXPECT_THAT(fault_with(0, 1), HasSubstr("have to be multiples"));
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
__global__ void copy_from_outside_kernel(const float* in) {
  ops::cuda::copy_async<4>(shared_memory<float>(), in, true);
  ops::cuda::commit_copies();
  ops::cuda::wait_for_copies();
}
__global__ void out_of_shared_kernel(int index) { shared_memory<float>()[index] = 1.0f; }

TEST(CudaOnHostDeathTest, IndicesOutOfBoundsAreFound) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Context ctx(test_device());
  const Tensor out = make_tensor(ctx, {7}, DType::f32, std::vector<float>(7));
  launch(ctx, out_of_bounds_kernel, 1, 1, 0, out.data<float>(), 6);
  EXPECT_DEATH(launch(ctx, out_of_bounds_kernel, 1, 1, 0, out.data<float>(), 7), "AddressSanitizer");
  EXPECT_DEATH(launch(ctx, out_of_bounds_kernel, 1, 1, 0, out.data<float>(), -1), "AddressSanitizer");
  EXPECT_DEATH(launch(ctx, copy_from_outside_kernel, 1, 1, 16, out.data<float>() + 7), "AddressSanitizer");
  launch(ctx, out_of_shared_kernel, 1, 1, 12, 2);
  EXPECT_DEATH(launch(ctx, out_of_shared_kernel, 1, 1, 12, 3), "AddressSanitizer");
}

#endif

}  // namespace
}  // namespace trireme::test

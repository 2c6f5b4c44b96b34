#include "launch/preflight/choose_device.h"

#include "runtime/comm/self/self_communicator.h"
#include "runtime/device/cuda/cuda_device.h"
#include "tests/support/expect_error.h"

namespace trireme::launch {
namespace {

using test::expect_error;

constexpr DeviceChoice kCpu{};
constexpr DeviceChoice kOwnGpu{{DeviceType::cuda, 3}, false};
constexpr DeviceChoice kSharedGpu{{DeviceType::cuda, 0}, true};

TEST(ChooseDevice, TheOnlyDeviceOrThatOfTheLocalRank) {
  EXPECT_EQ(device_index(0, 4), 0);
  EXPECT_EQ(device_index(3, 4), 3);
  EXPECT_EQ(device_index(5, 4), 1);
  EXPECT_EQ(device_index(3, 1), 0) << "a launcher shows each rank one device";
}

TEST(ChooseDevice, BackendsFollowTheDevices) {
  EXPECT_EQ(choose_backend({}, kCpu, 1), BackendKind::self);
  EXPECT_EQ(choose_backend({}, kOwnGpu, 1), BackendKind::self);
  EXPECT_EQ(choose_backend({}, kCpu, 4), BackendKind::mpi);
  EXPECT_EQ(choose_backend({}, kOwnGpu, 4), BackendKind::nccl);
  EXPECT_EQ(choose_backend({}, kSharedGpu, 4), BackendKind::mpi);
  EXPECT_EQ(choose_backend({}, {{DeviceType::cuda, 0}, false, true}, 4), BackendKind::mpi) << "MIG instances";
  RunOptions asked;
  asked.backend = BackendKind::mpi;
  EXPECT_EQ(choose_backend(asked, kOwnGpu, 4), BackendKind::mpi);
  asked.backend = BackendKind::nccl;
  EXPECT_EQ(choose_backend(asked, kSharedGpu, 4), BackendKind::nccl);
  expect_error(ExitCode::usage, {"run.backend nccl", "use mpi or auto"},
               [&] { choose_backend(asked, kCpu, 4); });
  for (int RunOptions::*setting : {&RunOptions::nccl_ctas, &RunOptions::nccl_channel_ctas}) {
    asked = {};
    asked.*setting = 2;
    EXPECT_EQ(choose_backend(asked, kOwnGpu, 4), BackendKind::nccl);
    expect_error(ExitCode::usage, {"apply to NCCL", "communicates by mpi"},
                 [&] { choose_backend(asked, kSharedGpu, 4); });
    expect_error(ExitCode::usage, {"communicates by self"}, [&] { choose_backend(asked, kOwnGpu, 1); });
  }
  asked = {};
  asked.cuda_graph = true;
  EXPECT_EQ(choose_backend(asked, kOwnGpu, 4), BackendKind::nccl);
  EXPECT_EQ(choose_backend(asked, kOwnGpu, 1), BackendKind::self);
  expect_error(ExitCode::usage, {"run.cuda-graph on", "its own GPU"},
               [&] { choose_backend(asked, kSharedGpu, 4); });
}

TEST(ChooseDevice, TheCpuNeedsNoLookAndIsNotShared) {
  const auto world = make_self_communicator();
  RunOptions run;
  run.device = DeviceKind::cpu;
  EXPECT_EQ(choose_device(run, *world, 0).device, Device{});
  EXPECT_EQ(device_text({}).substr(0, 5), "cpu: ");
  for (const DeviceKind device : {DeviceKind::cpu, DeviceKind::automatic}) {
    run.device = device;
    run.share_device = true;
    expect_error(ExitCode::usage, {"run.share-device on needs GPUs"}, [&] { choose_device(run, *world, 0); });
    run.share_device = false;
    run.cuda_graph = true;
    expect_error(ExitCode::usage, {"run.cuda-graph on needs GPUs"}, [&] { choose_device(run, *world, 0); });
    run.cuda_graph = false;
  }
}

/// What a GPU would change is tested on the host's stand-in for one.
TEST(ChooseDevice, AGpuThatIsNotThereIsRefusedOrLeftOut) {
  ASSERT_EQ(cuda::num_devices(), 0) << "this test is of machines without a GPU";
  const auto world = make_self_communicator();
  RunOptions run;
  EXPECT_EQ(choose_device(run, *world, 0).device, Device{});
  run.device = DeviceKind::cuda;
  expect_error(ExitCode::usage,
               {"run.device cuda", "rank 0 has no GPU", cuda::why_no_device(), "--run.device cpu"},
               [&] { choose_device(run, *world, 0); });
}

}  // namespace
}  // namespace trireme::launch

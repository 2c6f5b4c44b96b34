#include "launch/preflight/choose_device.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "launch/report/number_text.h"
#include "runtime/base/error.h"
#include "runtime/device/cpu/cpu_device.h"
#include "runtime/device/cuda/cuda_device.h"

namespace trireme::launch {

namespace {

/// What ranks tell each other: plain integers.
struct Seen {
  int64_t num_devices = 0;
  int64_t index = 0;
  int64_t uuid[2] = {};
  int64_t is_slice = 0;
};
constexpr int64_t kNumbers = sizeof(Seen) / sizeof(int64_t);

Seen look(int local_rank) {
  Seen seen;
  seen.num_devices = cuda::num_devices();
  if (seen.num_devices == 0) return seen;
  seen.index = device_index(local_rank, static_cast<int>(seen.num_devices));
  const cuda::DeviceInfo info = cuda::device_info(static_cast<int>(seen.index));
  static_assert(sizeof seen.uuid == sizeof info.uuid);
  std::memcpy(seen.uuid, info.uuid.data(), sizeof seen.uuid);
  seen.is_slice = info.is_slice ? 1 : 0;
  return seen;
}

bool is_same_device(const Seen& a, const Seen& b) { return std::equal(a.uuid, a.uuid + 2, b.uuid); }

/// The first two ranks with one device; equal where there are none.
std::pair<size_t, size_t> first_sharing(const std::vector<Seen>& all) {
  for (size_t a = 0; a < all.size(); ++a) {
    for (size_t b = a + 1; b < all.size(); ++b) {
      if (is_same_device(all[a], all[b])) return {a, b};
    }
  }
  return {0, 0};
}

DeviceChoice the_cpu(const RunOptions& run) {
  for (const auto& [is_on, name] :
       {std::pair{run.share_device, "share-device"}, {run.cuda_graph, "cuda-graph"}}) {
    if (is_on) throw_usage("run.{} on needs GPUs, but this run has none: leave it out", name);
  }
  return {};
}

}  // namespace

int device_index(int local_rank, int num_visible) { return local_rank % num_visible; }

DeviceChoice choose_device(const RunOptions& run, Communicator& world, int local_rank) {
  if (run.device == DeviceKind::cpu) return the_cpu(run);
  Seen mine = look(local_rank);
  std::vector<Seen> all(static_cast<size_t>(world.size()));
  const auto host = cpu::make_compute_stream();
  world.all_gather(*host, Tensor::borrow(&mine, {kNumbers}, DType::i64),
                   Tensor::borrow(all.data(), {kNumbers * world.size()}, DType::i64));
  const auto without = std::ranges::find(all, 0, &Seen::num_devices);
  const bool some_have = std::ranges::any_of(all, [](const Seen& seen) { return seen.num_devices > 0; });
  if (!some_have && run.device == DeviceKind::automatic) return the_cpu(run);
  if (without != all.end()) {
    const auto rank = without - all.begin();
    const std::string why = rank == world.rank() ? fmt::format(" ({})", cuda::why_no_device()) : "";
    throw_usage("run.device {}: rank {} has no GPU{}{}; use --run.device cpu", trireme::to_string(run.device),
                rank, why, some_have ? ", but other ranks have" : "");
  }
  const auto [a, b] = first_sharing(all);
  if (a != b && !run.share_device) {
    throw_usage(
        "ranks {} and {} would share a GPU (cuda:{} of {} visible to rank {}): start one rank per "
        "GPU, or allow sharing by --run.share-device",
        a, b, all[b].index, all[b].num_devices, b);
  }
  const bool has_slices = std::ranges::any_of(all, [](const Seen& seen) { return seen.is_slice != 0; });
  return {{DeviceType::cuda, static_cast<int>(mine.index)}, a != b, has_slices};
}

BackendKind choose_backend(const RunOptions& run, const DeviceChoice& choice, int world_size) {
  const bool on_gpu = choice.device.type == DeviceType::cuda;
  if (run.backend == BackendKind::nccl && !on_gpu) {
    throw_usage("run.backend nccl needs GPUs, but this run has none: use mpi or auto");
  }
  const auto of_nccl_alone = [&](BackendKind backend) {
    const RunOptions usual;
    if (run.nccl_ctas != usual.nccl_ctas || run.nccl_channel_ctas != usual.nccl_channel_ctas) {
      throw_usage(
          "run.nccl-ctas {} and run.nccl-channel-ctas {} apply to NCCL, but this run communicates by "
          "{}: leave them out",
          run.nccl_ctas, run.nccl_channel_ctas, trireme::to_string(backend));
    }
    return backend;
  };
  if (world_size == 1) return of_nccl_alone(BackendKind::self);
  const bool has_own_gpu = on_gpu && !choice.is_shared && !choice.has_slices;
  const BackendKind backend = run.backend != BackendKind::automatic ? run.backend
                              : has_own_gpu                         ? BackendKind::nccl
                                                                    : BackendKind::mpi;
  if (run.cuda_graph && backend == BackendKind::mpi) {
    throw_usage(
        "run.cuda-graph on: ranks that share a GPU, or use MIG instances of one, communicate by mpi "
        "through the host; give each rank its own GPU, or leave it out");
  }
  return backend == BackendKind::nccl ? backend : of_nccl_alone(backend);
}

std::string device_text(Device device) {
  if (device.type == DeviceType::cpu) {
    return fmt::format("cpu: {}, {}", cpu::processor_name(), cpu::matrix_isa());
  }
  const cuda::DeviceInfo info = cuda::device_info(device.index);
  return fmt::format("{}: {}, {}", to_string(device), info.name,
                     short_bytes(static_cast<double>(info.bytes)));
}

}  // namespace trireme::launch

// Checkpoints: how fast state is hashed, written beside the disk's own rate, read back in the same and in
// another layout, and planned for many ranks.
//
//   checkpoint_bench [DIRECTORY [MIB]]   measures in DIRECTORY (.), with MIB of state (512) on two ranks
//   checkpoint_bench --keep DIRECTORY    leaves a small checkpoint of three ranks, flat ranges, for
//   tests/interop
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <functional>
#include <string_view>

#include <fmt/format.h>

#include "parallel/checkpoint/load/load_slices.h"
#include "parallel/checkpoint/save/checkpoint_saver.h"
#include "parallel/checkpoint/save/commit.h"
#include "parallel/checkpoint/snapshot.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/io/files/durable_file.h"

#include "tests/support/state_of_ranks.h"

namespace trireme {
namespace {

using test::LogicalTensor;

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Of this thread's processor: other programs do not count.
double processor_seconds(const std::function<void()>& work) {
  const auto now = [] {
    timespec time = {};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  };
  const double begin = now();
  work();
  return now() - begin;
}

using Clock = double (*)(const std::function<void()>&);
double best_of(int times, const std::function<void()>& work, Clock clock = seconds_of) {
  double best = 1e9;
  for (int i = 0; i < times; ++i) best = std::min(best, clock(work));
  return best;
}

void bench_hashes() {
  constexpr int64_t kBytes = 256 << 20;
  std::vector<std::byte> bytes(kBytes, std::byte{3}), copy(kBytes);
  const auto rate = [&](const std::function<void()>& work) {
    return kBytes / best_of(7, work, processor_seconds) / 1e9;
  };
  fmt::print("one core, 256 MiB, GB/s: memcpy {:.1f}, XXH3-128 {:.1f}",
             rate([&] { std::memcpy(copy.data(), bytes.data(), kBytes); }), rate([&] { xxh3_128(bytes); }));
  for (const DType dtype : {DType::f32, DType::bf16, DType::u8}) {
    const Slice slice = whole_slice("w", dtype, {kBytes / static_cast<int64_t>(size_of(dtype))});
    fmt::print(", proof hash of {} {:.1f}", to_string(dtype),
               rate([&] { ProofHash().add(slice, 0, bytes); }));
  }
  const Slice slice = whole_slice("w", DType::f32, {kBytes / 4});
  const SliceSource source{slice, [&](int64_t begin, std::span<std::byte> to) {
                             std::memcpy(to.data(), bytes.data() + begin, to.size());
                           }};
  Snapshot snapshot;
  fmt::print(", all three {:.1f}\n", rate([&] { snapshot.take(0, std::span(&source, 1)); }));
}

std::vector<LogicalTensor> large_tensors(int64_t mib) {
  std::vector<LogicalTensor> tensors;
  for (int64_t i = 0; i < mib / 4; ++i)
    tensors.push_back({fmt::format("layers.{}.weight", i), DType::f32, {1009, 1039}});
  return tensors;
}

std::vector<SliceSource> constant_sources(const std::vector<Slice>& slices) {
  std::vector<SliceSource> sources;
  for (const Slice& slice : slices)
    sources.push_back({slice, [](int64_t begin, std::span<std::byte> to) {
                         std::memset(to.data(), static_cast<int>(begin >> 18), to.size());
                       }});
  return sources;
}

void load(const std::string& path, const std::vector<LogicalTensor>& tensors, int ranks, int kind) {
  const Manifest manifest = read_manifest(path);
  const auto wanted = test::wanted_slices(tensors, ranks, kind);
  run_thread_ranks(ranks, [&](Communicator& world) {
    std::vector<std::vector<std::byte>> memory;
    std::vector<SliceTarget> targets;
    for (const Slice& slice : wanted[static_cast<size_t>(world.rank())]) {
      memory.emplace_back(static_cast<size_t>(slice.bytes()));
      targets.push_back({slice, into_memory(slice.box, slice.dtype, memory.back())});
    }
    load_slices(world, path, manifest, make_load_plan(manifest.stored.slices, wanted, path), targets);
  });
}

void bench_disk(const std::string& directory, int64_t mib) {
  FileCalls kernel;
  const auto tensors = large_tensors(mib);
  const auto slices = test::owned_slices(tensors, 2, 0);
  Snapshot snapshots[2];
  int64_t bytes = 0;
  for (const int rank : {0, 1}) {  // memory is there
    snapshots[rank].take(rank, constant_sources(slices[static_cast<size_t>(rank)]));
    bytes += snapshots[rank].bytes();
  }
  const std::vector<std::byte> block(8 << 20, std::byte{7});
  const double plain = best_of(3, [&] {
    const std::string path = directory + "/plain";
    DurableFile file(kernel, path);
    for (int64_t at = 0; at < bytes; at += std::ssize(block)) file.write(block);
    file.sync();
    file.close();
    remove_file(kernel, path);
  });
  const double save = best_of(3, [&] {
    run_thread_ranks(2, [&](Communicator& world) {
      const auto rank = static_cast<size_t>(world.rank());
      snapshots[rank].take(world.rank(), constant_sources(slices[rank]));
      commit_checkpoint(kernel, world, {directory + "/checkpoints", {}, snapshots[rank].proof(), {}},
                        [&](const std::string& to) { return snapshots[rank].write(kernel, to); });
    });
  });
  double stall = 1e9;  // until the state may change
  run_thread_ranks(2, [&](Communicator& world) {
    CheckpointSaver saver(kernel, world.split(0, world.rank(), "checkpoint"));
    const auto sources = constant_sources(slices[static_cast<size_t>(world.rank())]);
    for (int i = 0; i < 4; ++i) {
      const double seconds = seconds_of([&] {
        saver.save({directory + "/checkpoints", {}, {}, {}}, sources);
      });
      if (world.rank() == 0 && i > 0) stall = std::min(stall, seconds);
      saver.wait();
    }
  });
  const std::string path = directory + "/checkpoints/" + checkpoint_name(0);
  const double same = best_of(3, [&] { load(path, tensors, 2, 0); });
  const double other = best_of(3, [&] { load(path, tensors, 2, 2); });
  const double three = best_of(3, [&] { load(path, tensors, 3, 1); });
  const double verify = best_of(3, [&] { find_damage(path, false); });
  const auto rate = [&](double seconds) { return static_cast<double>(bytes) / seconds / 1e9; };
  fmt::print(
      "{} MB on two ranks, GB/s: plain write and fsync {:.2f}, save {:.2f} ({:.0f} %), beside the "
      "caller's work it waits {:.0f} % of that; from the page cache: "
      "load "
      "{:.2f}, as columns {:.2f}, on three ranks {:.2f}; verify {:.2f}\n",
      bytes / 1'000'000, rate(plain), rate(save), 100 * plain / save, 100 * stall / save, rate(same),
      rate(other), rate(three), rate(verify));
  remove_directory(kernel, directory + "/checkpoints");
}

// 200 tensors, saved by as many ranks in flat ranges and wanted as rows; and by replicas, all of it.
void bench_plan(int ranks) {
  std::vector<LogicalTensor> tensors;
  for (int i = 0; i < 200; ++i)
    tensors.push_back({fmt::format("layers.{}.weight", i), DType::f32, {8192, 4096}});
  std::vector<StoredSlice> stored;
  for (const auto& slices : test::owned_slices(tensors, ranks, 0)) {
    for (const Slice& slice : slices) stored.push_back({slice, 0, 0, {}});
  }
  for (const int kind : {1, 4}) {
    const auto wanted = test::wanted_slices(tensors, ranks, kind);
    size_t num_wanted = 0;
    for (const auto& of_rank : wanted) num_wanted += of_rank.size();
    LoadPlan plan;
    const double seconds = best_of(
        3, [&] { plan = make_load_plan(stored, wanted, "path"); }, processor_seconds);
    fmt::print("plan: {} ranks, {} stored slices, {} wanted ({}): {} reads, {:.3f} s\n", ranks, stored.size(),
               num_wanted, kind == 1 ? "rows" : "all on each", plan.reads.size(), seconds);
  }
}

void keep_one(const std::string& directory) {
  auto tensors = test::logical_tensors(1);
  const auto slices = test::owned_slices(tensors, 3, 0);
  FileCalls kernel;
  run_thread_ranks(3, [&](Communicator& world) {
    Snapshot snapshot;
    snapshot.take(world.rank(), test::sources_of(slices[static_cast<size_t>(world.rank())], 1));
    commit_checkpoint(kernel, world, {directory, {}, snapshot.proof(), {}},
                      [&](const std::string& to) { return snapshot.write(kernel, to); });
  });
  fmt::print("{}/{}\n", directory, checkpoint_name(0));
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) {
  if (argc == 3 && std::string_view(argv[1]) == "--keep") {
    trireme::keep_one(argv[2]);
    return 0;
  }
  trireme::bench_hashes();
  for (const int ranks : {500, 1000, 2000}) trireme::bench_plan(ranks);
  trireme::bench_disk(argc > 1 ? argv[1] : ".", argc > 2 ? std::atoll(argv[2]) : 512);
}

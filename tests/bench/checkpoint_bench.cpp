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
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "parallel/checkpoint/load/load_slices.h"
#include "parallel/checkpoint/save/checkpoint_saver.h"
#include "parallel/checkpoint/save/commit.h"
#include "parallel/checkpoint/snapshot.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/device/cpu/cpu_device.h"
#include "runtime/io/digest/xxh3.h"
#include "runtime/io/files/durable_file.h"

#include "tests/bench/checkpoint_state.h"
#include "tests/support/state_of_ranks.h"

namespace trireme {
namespace {

using test::LogicalTensor;

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
    return kBytes / best_of(7, work, processor_seconds_of) / 1e9;
  };
  fmt::print("one core, 256 MiB, GB/s of processor time: memcpy {:.1f}, XXH3-128 {:.1f}",
             rate([&] { std::memcpy(copy.data(), bytes.data(), kBytes); }), rate([&] { xxh3_128(bytes); }));
  for (const DType dtype : {DType::f32, DType::bf16, DType::u8}) {
    const Slice slice = whole_slice("w", dtype, {kBytes / static_cast<int64_t>(size_of(dtype))});
    fmt::print(", proof hash of {} {:.1f}", to_string(dtype),
               rate([&] { ProofHash().add(slice, 0, bytes); }));
  }
  const Slice slice = whole_slice("w", DType::f32, {kBytes / 4});
  const SliceSource source{slice,
                           [&](Stream& stream, int64_t begin, std::span<std::byte> to) {
                             stream.copy(to.data(), bytes.data() + begin, to.size());
                           },
                           bytes.data()};
  Snapshot snapshot;
  fmt::print(", all three {:.1f}\n", rate([&] { snapshot.take(0, {source}); }));
}

/// Of the files' pages; what is not on the disk yet stays.
void drop_from_cache(const std::string& directory) {
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const int fd = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    ::close(fd);
  }
}

/// How long dd takes to write so many bytes; `flags` are more operands of it.
double seconds_of_dd(const std::string& directory, int64_t bytes, const char* flags) {
  const std::string path = directory + "/dd";
  const std::string command = fmt::format(
      "dd if=/dev/zero of={} bs=8M count={} iflag=count_bytes {} 2>/dev/null", path, bytes, flags);
  const double seconds = seconds_of([&] {
    if (std::system(command.c_str()) != 0) throw_environment("dd failed: {}", command);
  });
  std::filesystem::remove(path);
  return seconds;
}

void bench_save(const std::string& directory, int64_t mib) {
  FileCalls kernel;
  const std::vector<HeldSlices> held = held_by(test::owned_slices(large_tensors(mib), 2, 0));
  std::vector<double> buffered, direct, saves, ratios;
  run_thread_ranks(2, [&](Communicator& world) {
    const auto stream = cpu::make_compute_stream();
    CheckpointSaver saver(kernel, world.split(0, world.rank(), "checkpoint"));
    for (int i = 0; i < 10; ++i) {
      if (world.rank() == 0) buffered.push_back(seconds_of_dd(directory, mib << 20, "conv=fsync"));
      if (world.rank() == 0) direct.push_back(seconds_of_dd(directory, mib << 20, "conv=fsync oflag=direct"));
      world.barrier(*stream);
      const double seconds = seconds_of([&] {
        saver.save({directory + "/checkpoints", {}, {}}, held[static_cast<size_t>(world.rank())].sources(),
                   *stream);
        saver.wait();
      });
      if (world.rank() == 0) saves.push_back(seconds);
    }
  });
  for (auto* times : {&buffered, &direct, &saves}) times->erase(times->begin());  // the first takes memory
  for (size_t i = 0; i < saves.size(); ++i) ratios.push_back(buffered[i] / saves[i]);
  const auto rate = [&](const std::vector<double>& times) {
    return static_cast<double>(mib << 20) / median(times) / 1e9;
  };
  fmt::print(
      "{} MiB on two ranks, medians of {} in turns, GB/s: dd with fsync {:.2f}, with O_DIRECT too {:.2f}, a "
      "save "
      "that is waited for {:.2f}: {:.0f} % of the first ({:.0f} to {:.0f}), {:.0f} % of the second\n",
      mib, saves.size(), rate(buffered), rate(direct), rate(saves), 100 * median(ratios),
      100 * *std::ranges::min_element(ratios), 100 * *std::ranges::max_element(ratios),
      100 * rate(saves) / rate(direct));
}

/// Of the checkpoint that bench_save has left.
void bench_load(const std::string& directory, int64_t mib) {
  const auto tensors = large_tensors(mib);
  const std::string path = directory + "/checkpoints/" + checkpoint_name(0);
  const Manifest manifest = read_manifest(path);
  struct Case {
    const char* name;
    int ranks, kind;
    std::vector<double> cold = {}, cached = {}, processor = {};
  };
  std::vector<Case> cases = {{"the same layout", 2, 0},
                             {"as rows", 2, 1},
                             {"as columns", 2, 2},
                             {"on three ranks", 3, 1},
                             {"all on each of two", 2, 4}};
  for (int i = 0; i < 7; ++i) {
    for (Case& c : cases) {
      const auto wanted = test::wanted_slices(tensors, c.ranks, c.kind);
      std::vector<HeldSlices> held = held_by(wanted);
      const auto load = [&] {
        run_thread_ranks(c.ranks, [&](Communicator& world) {
          const auto targets = held[static_cast<size_t>(world.rank())].targets();
          load_slices(world, path, manifest, make_load_plan(manifest.stored.slices, wanted, path), targets);
        });
      };
      drop_from_cache(path);
      c.cold.push_back(seconds_of(load));
      c.processor.push_back(processor_seconds_of_all([&] { c.cached.push_back(seconds_of(load)); }));
    }
  }
  const double cold = median(cases[0].cold), cached = median(cases[0].cached),
               processor = median(cases[0].processor);
  for (const Case& c : cases)
    fmt::print(
        "load {}: from the disk {:.3f} s ({:.2f} of the same layout), from the page cache {:.3f} s "
        "({:.2f}), all ranks' processor time {:.3f} s ({:.2f})\n",
        c.name, median(c.cold), median(c.cold) / cold, median(c.cached), median(c.cached) / cached,
        median(c.processor), median(c.processor) / processor);
  std::vector<std::byte> half(static_cast<size_t>(mib << 19), std::byte{3});  // a rank's
  const double xxh3 = best_of(
      5, [&] { xxh3_128(half); }, processor_seconds_of);
  const std::vector<HeldSlices> held = held_by(test::wanted_slices(tensors, 2, 0));
  const double proof = best_of(5, [&] {
    run_thread_ranks(2, [&](Communicator& world) {
      Context ctx;
      proof_of(ctx, held[static_cast<size_t>(world.rank())].sources());
    });
  });
  fmt::print(
      "of the load from the disk: XXH3-128 of a rank's bytes, as it is read, {:.1f} %, the proof hash behind "
      "it, with a "
      "thread a rank, {:.1f} %\n",
      100 * xxh3 / cold, 100 * proof / cold);
  FileCalls kernel;
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
        3, [&] { plan = make_load_plan(stored, wanted, "path"); }, processor_seconds_of);
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
    commit_checkpoint(kernel, world, {directory, {}, {}},
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
  for (const int ranks : {100, 300, 1000, 3000}) trireme::bench_plan(ranks);
  const std::string directory = argc > 1 ? argv[1] : ".";
  const int64_t mib = argc > 2 ? std::atoll(argv[2]) : 512;
  trireme::bench_save(directory, mib);
  trireme::bench_load(directory, mib);
}

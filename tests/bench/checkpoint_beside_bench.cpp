// What a save costs the steps beside it: two ranks, each a thread that computes all the time, with saves that
// go on beside the steps, with saves that are waited for, and with none, in turns.
//
//   checkpoint_beside_bench [DIRECTORY [MIB [ROUNDS]]]   in DIRECTORY (.), with MIB of state (512)
#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <sys/resource.h>

#include "parallel/checkpoint/save/checkpoint_saver.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/device/cpu/cpu_device.h"
#include "runtime/io/digest/xxh3.h"
#include "runtime/io/files/durable_file.h"

#include "tests/bench/checkpoint_state.h"

namespace trireme {
namespace {

enum Kind { none, beside, waited_for };

/// An interval of steps with a save at its beginning.
struct Interval {
  double seconds = 0;
  double still = 0;  ///< of these the rank stood still
  double processor =
      0;  ///< of the save, a rank's: what it takes of as many busy cores where it goes on beside
};

/// Of this process, all threads: other programs do not count.
double processor_seconds() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Arithmetic in the cache, and the ranks meet, as in a reduction.
void compute(Communicator& world, Stream& stream, std::span<const std::byte> buffer) {
  uint64_t sum = 0;
  for (int i = 0; i < 60000; ++i) sum ^= xxh3_128(buffer).low;
  if (sum == 1) fmt::print(" ");  // it is wanted
  world.barrier(stream);
}

Interval run_interval(Kind kind, CheckpointSaver& saver, const CommitRequest& request, const HeldSlices& held,
                      Communicator& world, Stream& stream) {
  constexpr int kSteps = 12;
  const std::vector<std::byte> buffer(64 << 10, std::byte{3});
  Interval interval;
  interval.seconds = seconds_of([&] {
    const double before = processor_seconds();
    interval.still += seconds_of([&] {
      if (kind != none) saver.save(request, held.sources(), stream);
      if (kind == waited_for) {
        saver.wait();
        world.barrier(stream);
      }
    });
    interval.processor = (processor_seconds() - before) / world.size();
    for (int step = 0; step < kSteps; ++step) {
      compute(world, stream, buffer);
      interval.still += seconds_of([&] { saver.release(stream); });  // before the update
    }
    interval.still += seconds_of([&] { saver.wait(); });
  });
  world.barrier(stream);
  return interval;
}

/// What a save of a rank takes of a processor, part by part.
void bench_parts(const std::string& directory, const HeldSlices& held) {
  constexpr int kTimes = 5;
  FileCalls kernel;
  const auto stream = cpu::make_compute_stream();
  const std::vector<SliceSource> sources = held.sources();
  Snapshot snapshot;
  const std::string path = directory + "/parts";
  std::vector<std::vector<double>> found(5);
  for (int i = 0; i <= kTimes; ++i) {
    make_directory(kernel, path);
    snapshot.begin(0, sources, *stream);
    const std::vector<std::function<void()>> parts = {
        [&] { snapshot.release(*stream); },
        [&] {
          for (const SliceSource& s : sources) xxh3_128({s.memory, static_cast<size_t>(s.slice.bytes())});
        },
        [&] {
          for (const SliceSource& s : sources)
            ProofHash().add(s.slice, 0, {s.memory, static_cast<size_t>(s.slice.bytes())});
        },
        [&] { snapshot.take(0, sources); }, [&] { snapshot.write(kernel, path); }};
    for (size_t part = 0; part < parts.size(); ++part) {
      const double seconds = processor_seconds_of(parts[part]);
      if (i > 0) found[part].push_back(seconds);  // the first takes memory
    }
    remove_directory(kernel, path);
  }
  fmt::print(
      "processor time of a rank's {} MiB, ms: copy {:.1f}, XXH3-128 {:.1f}, proof hash {:.1f}, of memory "
      "each; "
      "the three as a save does them {:.1f}; handing it to the disk {:.1f}\n",
      snapshot.bytes() >> 20, 1e3 * median(found[0]), 1e3 * median(found[1]), 1e3 * median(found[2]),
      1e3 * median(found[3]), 1e3 * median(found[4]));
}

void bench(const std::string& directory, int64_t mib, int rounds) {
  FileCalls kernel;
  const std::vector<HeldSlices> held = held_by(test::owned_slices(large_tensors(mib), 2, 0));
  bench_parts(directory, held[0]);
  std::array<std::vector<Interval>, 3> found;
  run_thread_ranks(2, [&](Communicator& world) {
    const auto stream = cpu::make_compute_stream();
    CheckpointSaver saver(kernel, world.split(0, world.rank(), "checkpoint"));
    for (int round = 0; round <= rounds; ++round) {
      for (const Kind kind : {none, beside, waited_for}) {
        const Interval interval = run_interval(kind, saver, {directory + "/checkpoints", {}, {}},
                                               held[static_cast<size_t>(world.rank())], world, *stream);
        if (world.rank() == 0 && round > 0) found[kind].push_back(interval);  // the first takes memory
      }
    }
  });
  const auto times = [&](Kind kind, double Interval::*what) {
    std::vector<double> seconds;
    for (const Interval& interval : found[kind]) seconds.push_back(interval.*what);
    return seconds;
  };
  const auto print = [&](const char* name, double without, double with, double waited, double processor) {
    fmt::print(
        "{}: an interval without a save {:.3f} s; a save that is waited for costs {:.3f} s, one beside the "
        "steps "
        "{:.3f} s ({:.0f} %), by its processor time {:.3f} s of each of two cores ({:.0f} %): {:.3f} % of "
        "ten minutes\n",
        name, without, waited - without, with - without, 100 * (with - without) / (waited - without),
        processor, 100 * processor / (waited - without), 100 * processor / 600);
  };
  fmt::print("{} MiB on two ranks, {} rounds; beside the steps a rank stands still for {:.1f} ms (median)\n",
             mib, rounds, 1e3 * median(times(beside, &Interval::still)));
  const auto all = [&](double (*choose)(std::vector<double>), const char* name) {
    print(name, choose(times(none, &Interval::seconds)), choose(times(beside, &Interval::seconds)),
          choose(times(waited_for, &Interval::seconds)), choose(times(waited_for, &Interval::processor)));
  };
  all(median, "medians");
  all([](std::vector<double> values) { return std::ranges::min(values); }, "least");
  remove_directory(kernel, directory + "/checkpoints");
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) {
  trireme::bench(argc > 1 ? argv[1] : ".", argc > 2 ? std::atoll(argv[2]) : 512,
                 argc > 3 ? std::atoi(argv[3]) : 9);
}

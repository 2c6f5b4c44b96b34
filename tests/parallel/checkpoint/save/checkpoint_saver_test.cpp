// Saves beside the caller's work; seen by the thread sanitizer.
#include "parallel/checkpoint/save/checkpoint_saver.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/device/cpu/cpu_device.h"

#include "tests/support/expect_error.h"
#include "tests/support/recorded_calls.h"
#include "tests/support/state_of_ranks.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tier.h"

namespace trireme {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(BackgroundJob, OneAtATimeAndErrorsComeOnce) {
  BackgroundJob job;
  job.wait();
  std::atomic<int> running = 0, done = 0;
  for (int i = 0; i < 50; ++i) {
    job.start([&] {
      EXPECT_EQ(++running, 1);
      --running;
      ++done;
    });
  }
  job.wait();
  EXPECT_EQ(done, 50);
  EXPECT_FALSE(job.is_busy());
  job.start([] { throw std::runtime_error("first"); });
  EXPECT_THROW(job.start([&] { ++done; }), std::runtime_error);
  EXPECT_EQ(done, 50);
  job.wait();
  job.start([] { throw std::runtime_error("lost"); });
}

/// While one lives the system makes no thread: each would need a stack larger than memory can be addressed.
class NoThreads {
 public:
  NoThreads() {
    ::pthread_getattr_default_np(&before_);
    pthread_attr_t none = before_;
    ::pthread_attr_setstacksize(&none, size_t{1} << 48);
    EXPECT_EQ(::pthread_setattr_default_np(&none), 0);
  }
  ~NoThreads() { ::pthread_setattr_default_np(&before_); }
  NoThreads(const NoThreads&) = delete;
  NoThreads& operator=(const NoThreads&) = delete;

 private:
  pthread_attr_t before_;
};

TEST(BackgroundJob, WhereNoThreadCanBeMadeNothingIsInFlight) {
  BackgroundJob job;
  int done = 0;
  {
    const NoThreads none;
    EXPECT_THROW(job.start([&] { ++done; }), std::system_error);
  }
  EXPECT_FALSE(job.is_busy());
  job.wait();
  job.start([&] { ++done; });
  job.wait();
  EXPECT_EQ(done, 1);
}

/// State of a rank that training changes: floats that all have the value of the step.
struct RankState {
  explicit RankState(const Slice& s) : slice(s), values(static_cast<size_t>(s.box.numel())) {}
  SliceSource source() {
    return {slice, [this](Stream& stream, int64_t begin, std::span<std::byte> to) {
              stream.copy(to.data(), reinterpret_cast<const std::byte*>(values.data()) + begin, to.size());
            }};
  }
  /// Hashed while it is copied.
  SliceSource source_in_place() {
    SliceSource in_place = source();
    in_place.memory = reinterpret_cast<const std::byte*>(values.data());
    return in_place;
  }
  Slice slice;
  std::vector<float> values;
};

ProofHash proof_of_step(const Shape& shape, int64_t step) {
  const Slice whole = whole_slice("w", DType::f32, shape);
  const std::vector<float> values(static_cast<size_t>(shape.numel()), static_cast<float>(step));
  ProofHash proof;
  proof.add(whole, 0, std::as_bytes(std::span(values)));
  return proof;
}

/// Some of it is copied by the saver's thread and the rest in release(), by chance.
TEST(CheckpointSaver, WhatIsSavedIsTheStateOfTheCallWhateverChangesAfterItsRelease) {
  const test::TemporaryFolder folder;
  const Shape shape = {1001, 130};
  FileCalls kernel;
  run_thread_ranks(2, [&](Communicator& world) {
    const auto stream = cpu::make_compute_stream();
    CheckpointSaver saver(kernel, world.split(0, world.rank(), "checkpoint"));
    RankState state(
        {"w", DType::f32, shape, {{world.rank() * 500, 0}, {world.rank() == 0 ? 500 : 501, 130}}});
    for (int64_t step = 1; step <= 6; ++step) {
      std::ranges::fill(state.values, static_cast<float>(step));
      CommitRequest request;
      request.directory = folder.path();
      request.state.step = step;
      request.retention.keep = 4;
      saver.save(request, {step % 2 == 0 ? state.source() : state.source_in_place()}, *stream);
      saver.release(*stream);
      std::ranges::fill(state.values, -1.0f);  // the next step
    }
    saver.wait();
    ASSERT_TRUE(saver.last());
    EXPECT_EQ(saver.last()->proof, proof_of_step(shape, 6));
    EXPECT_FALSE(saver.is_saving());
  });
  EXPECT_THAT(checkpoint_steps(folder.path()), ElementsAre(6, 5, 4, 3));
  for (const int64_t step : {3, 4, 5, 6}) {
    EXPECT_THAT(find_damage(folder.path(checkpoint_name(step)), true), IsEmpty());
    EXPECT_EQ(read_manifest(folder.path(checkpoint_name(step))).proof, proof_of_step(shape, step));
  }
}

/// The saver's thread is held up in its first copy: all others are made in release(), each once.
TEST(CheckpointSaver, ReleaseCopiesWhatIsNotCopiedYet) {
  const test::TemporaryFolder folder;
  FileCalls kernel;
  const auto self = make_self_communicator();
  const auto stream = cpu::make_compute_stream();
  RankState state(whole_slice("w", DType::f32, {1 << 20}));  // 16 pieces
  std::ranges::fill(state.values, 1.0f);
  std::mutex mutex;
  std::condition_variable changed;
  bool is_begun = false, may_end = false;
  std::atomic<int> num_others = 0;
  const auto caller = std::this_thread::get_id();
  SliceSource source = state.source();
  source.copy = [&, copy = source.copy](Stream& on, int64_t begin, std::span<std::byte> to) {
    if (std::this_thread::get_id() != caller) {
      std::unique_lock lock(mutex);
      is_begun = true;
      changed.notify_all();
      changed.wait(lock, [&] { return may_end; });
    } else if (++num_others == 15) {
      const std::lock_guard lock(mutex);
      may_end = true;
      changed.notify_all();
    }
    copy(on, begin, to);
  };
  CheckpointSaver saver(kernel, self->split(0, 0, "checkpoint"));
  saver.save({folder.path(), {}, {}}, {source}, *stream);
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return is_begun; });
  }
  saver.release(*stream);
  std::ranges::fill(state.values, -1.0f);
  saver.wait();
  EXPECT_EQ(num_others, 15);
  EXPECT_EQ(saver.last()->proof, proof_of_step({1 << 20}, 1));
  EXPECT_THAT(find_damage(saver.last()->path, true), IsEmpty());
}

/// The last copy waits a little for a write that may not come before it.
TEST(CheckpointSaver, NothingIsWrittenBeforeItIsCopied) {
  class Watched final : public FileCalls {
   public:
    ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) override {
      {
        const std::lock_guard lock(mutex);
        is_written = true;
      }
      changed.notify_all();
      return FileCalls::pwrite(fd, bytes, size, offset);
    }
    std::mutex mutex;
    std::condition_variable changed;
    bool is_written = false;
  } watched;
  const test::TemporaryFolder folder;
  const auto self = make_self_communicator();
  const auto stream = cpu::make_compute_stream();
  constexpr int64_t kPieces = 3;
  RankState state(whole_slice("w", DType::f32, {kPieces << 16}));
  SliceSource source = state.source();
  source.copy = [&, copy = source.copy](Stream& on, int64_t begin, std::span<std::byte> to) {
    std::unique_lock lock(watched.mutex);
    if (begin == (kPieces - 1) << 18) {
      EXPECT_FALSE(
          watched.changed.wait_for(lock, std::chrono::milliseconds(30), [&] { return watched.is_written; }));
    }
    copy(on, begin, to);
  };
  CheckpointSaver saver(watched, self->split(0, 0, "checkpoint"));
  saver.save({folder.path(), {}, {}}, {source}, *stream);
  saver.wait();
  EXPECT_TRUE(watched.is_written);
  EXPECT_THAT(find_damage(saver.last()->path, true), IsEmpty());
}

TEST(CheckpointSaver, AFailureComesWithTheNextCallOnAllRanksAndThenItGoesOn) {
  const test::TemporaryFolder folder;
  test::FaultyCalls full({test::PlannedFault::Kind::error, 1, ENOSPC}), healthy;
  run_thread_ranks(2, [&](Communicator& world) {
    FileCalls& calls = world.rank() == 1 ? static_cast<FileCalls&>(full) : healthy;
    const auto stream = cpu::make_compute_stream();
    CheckpointSaver saver(calls, world.split(0, world.rank(), "checkpoint"));
    RankState state({"w", DType::f32, {4, 8}, {{world.rank() * 2, 0}, {2, 8}}});
    const std::vector<SliceSource> sources = {state.source()};
    CommitRequest request;
    request.directory = folder.path();
    request.state.step = 1;
    saver.save(request, sources, *stream);
    request.state.step = 2;
    test::expect_error(ExitCode::checkpoint,
                       {"step 1 was not saved: rank 1", "No space left on device (ENOSPC)"},
                       [&] { saver.save(request, sources, *stream); });
    saver.save(request, sources, *stream);
    saver.wait();
    EXPECT_EQ(std::filesystem::path(saver.last()->path).filename(), checkpoint_name(2));
    // A source that fails on one rank.
    request.state.step = 3;
    const std::vector<SliceSource> wrong = {{state.slice, [&](Stream&, int64_t, std::span<std::byte>) {
                                               throw_environment("the device is gone");
                                             }}};
    saver.save(request, world.rank() == 0 ? wrong : sources, *stream);
    test::expect_error(ExitCode::checkpoint, {"step 3 was not saved: rank 0: the device is gone"},
                       [&] { saver.wait(); });
    // One that does not come to copying, and the next.
    request.state.step = 4;
    RankState nothing({"w", DType::f32, {4, 8}, {{0, 0}, {0, 8}}});
    saver.save(request, world.rank() == 1 ? std::vector<SliceSource>{nothing.source()} : sources, *stream);
    test::expect_error(ExitCode::checkpoint, {"step 4 was not saved: rank 1: ", "w[0:0, 0:8] is empty"},
                       [&] { saver.wait(); });
    request.state.step = 5;
    saver.save(request, sources, *stream);
    saver.wait();
  });
  EXPECT_TRUE(full.has_failed());
  EXPECT_THAT(checkpoint_steps(folder.path()), ElementsAre(5, 2));
}

/// Of this process, in bytes.
int64_t resident_memory() {
  std::ifstream in("/proc/self/statm");
  int64_t all = 0, resident = 0;
  in >> all >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

TEST(CheckpointSaver, AHundredSavesTakeNoMoreMemoryThanTwo) {
  const test::TemporaryFolder folder;
  FileCalls kernel;
  const int64_t num_saves = test::whole_tier() ? 100 : 25;
  run_thread_ranks(2, [&](Communicator& world) {
    const auto stream = cpu::make_compute_stream();
    CheckpointSaver saver(kernel, world.split(0, world.rank(), "checkpoint"));
    std::vector<RankState> states;  // 60 tensors, 4 MiB a rank
    std::vector<SliceSource> sources;
    for (int i = 0; i < 60; ++i)
      states.emplace_back(
          Slice{fmt::format("w{}", i), DType::f32, {128, 273}, {{world.rank() * 64, 0}, {64, 273}}});
    for (RankState& state : states) sources.push_back(state.source_in_place());
    int64_t after_two = 0;
    for (int64_t step = 1; step <= num_saves; ++step) {
      CommitRequest request;
      request.directory = folder.path();
      request.state.step = step;
      saver.save(request, sources, *stream);
      saver.wait();
      if (step == 2) after_two = resident_memory();
    }
    EXPECT_LE(static_cast<double>(resident_memory()), 1.01 * static_cast<double>(after_two));
  });
}

}  // namespace
}  // namespace trireme

// Saves with ranks as threads: what counts when a call of the file system fails, or the power does.
#include "parallel/checkpoint/save/commit.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/checkpoint/snapshot.h"
#include "parallel/checkpoint/vote.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/io/files/file.h"

#include "tests/support/expect_error.h"
#include "tests/support/power_cuts.h"
#include "tests/support/recorded_calls.h"
#include "tests/support/state_of_ranks.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tier.h"

namespace trireme {
namespace {

using test::FaultyCalls;
using test::PlannedFault;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// The steps of a small job: what its ranks hold, and saves of it.
class Job {
 public:
  explicit Job(std::string directory, int num_ranks = 2)
      : directory_(std::move(directory)), num_ranks_(num_ranks) {}

  /// Saves state number `step`. What each rank threw, empty where it did not; `calls_of` are a rank's calls.
  std::vector<std::string> save(int64_t step, const std::function<FileCalls&(int rank)>& calls_of,
                                const Retention& retention = {}) {
    std::vector<std::string> failures(static_cast<size_t>(num_ranks_));
    warnings.clear();
    run_thread_ranks(num_ranks_, [&](Communicator& world) {
      Snapshot snapshot;
      snapshot.take(world.rank(), test::sources_of(slices_[static_cast<size_t>(world.rank())],
                                                   static_cast<uint64_t>(step)));
      CommitRequest request{directory_, {}, retention};
      request.state.step = step;
      FileCalls& calls = calls_of(world.rank());
      try {
        const Committed done = commit_checkpoint(
            calls, world, request, [&](const std::string& to) { return snapshot.write(calls, to); });
        EXPECT_EQ(done.proof, test::proof_of(tensors_, static_cast<uint64_t>(step)));
        if (world.rank() == 0) warnings = done.warnings;
      } catch (const SaveFailed& error) {
        failures[static_cast<size_t>(world.rank())] = error.what();
      }
    });
    return failures;
  }
  void save(int64_t step, const Retention& retention = {}) {
    EXPECT_THAT(save(
                    step, [&](int) -> FileCalls& { return kernel_; }, retention),
                testing::Each(""));
  }

  std::string path(int64_t step) const { return directory_ + "/" + checkpoint_name(step); }
  std::vector<std::string> warnings;

 private:
  FileCalls kernel_;
  std::string directory_;
  int num_ranks_;
  std::vector<test::LogicalTensor> tensors_ = test::logical_tensors(1);
  std::vector<std::vector<Slice>> slices_ = test::owned_slices(tensors_, num_ranks_, 0);
};

TEST(Commit, CheckpointsAreWholeAndLatestNamesTheNewest) {
  const test::TemporaryFolder folder;
  Job job(folder.path("checkpoints"), 3);
  job.save(10);
  job.save(20);
  EXPECT_THAT(checkpoint_steps(folder.path("checkpoints")), ElementsAre(20, 10));
  EXPECT_EQ(read_text_file(folder.path("checkpoints/latest")), "step-00000020\n");
  EXPECT_THAT(find_damage(job.path(10), true), IsEmpty());
  EXPECT_THAT(find_damage(job.path(20), true), IsEmpty());
  EXPECT_EQ(read_manifest(job.path(20)).state.step, 20);
}

TEST(Commit, TheSameStepAgainTakesThePlaceOfTheOneBefore) {
  for (const bool can_exchange : {true, false}) {
    class NoExchange final : public FileCalls {
      int exchange(const char*, const char*) override { return errno = EINVAL, -1; }
    } without;
    FileCalls kernel;
    const test::TemporaryFolder folder;
    Job job(folder.path());
    job.save(10);
    std::ofstream(job.path(10) + "/rank-00000.safetensors") << "damaged";
    EXPECT_THAT(find_damage(job.path(10), true), testing::SizeIs(1));
    EXPECT_THAT(job.save(10, [&](int) -> FileCalls& { return can_exchange ? kernel : without; }),
                testing::Each(""));
    EXPECT_THAT(find_damage(job.path(10), true), IsEmpty());
    EXPECT_THAT(folder.names(), testing::UnorderedElementsAre("step-00000010", "latest"));
  }
}

TEST(Commit, OldOnesGo) {
  const test::TemporaryFolder folder;
  Job job(folder.path());
  for (int64_t step = 1; step <= 8; ++step) job.save(step, {.keep = 2, .keep_every = 4, .best = 3});
  EXPECT_THAT(checkpoint_steps(folder.path()), ElementsAre(8, 7, 4, 3));
  EXPECT_THAT(steps_to_remove({1, 2, 3}, {.keep = 5}), IsEmpty());
  EXPECT_THAT(steps_to_remove({3, 0, 2, 1}, {.keep = 1, .keep_every = 2}), ElementsAre(1));
}

TEST(Commit, WhatDiedIsRemovedAndWhatWasBeingReplacedComesBack) {
  const test::TemporaryFolder folder;
  Job job(folder.path());
  FileCalls kernel;
  job.save(10);
  std::filesystem::create_directories(folder.path("step-00000020.tmp/inner"));
  folder.write("latest.new", "half");
  std::filesystem::create_directories(folder.path("step-x.tmp"));  // somebody else's
  std::filesystem::rename(job.path(10), folder.path("step-00000010.replaced"));
  EXPECT_THAT(checkpoint_steps(folder.path()), IsEmpty());
  remove_unfinished(kernel, folder.path());
  EXPECT_THAT(checkpoint_steps(folder.path()), ElementsAre(10));
  EXPECT_THAT(find_damage(job.path(10), true), IsEmpty());
  EXPECT_THAT(folder.names(), testing::UnorderedElementsAre("step-00000010", "latest", "step-x.tmp"));
  EXPECT_THAT(checkpoint_steps(folder.path("not there")), IsEmpty());
}

/// What must hold after a save of step 2 over a whole step 1, on one rank of which something went wrong.
void expect_sound(const Job& job, const std::vector<std::string>& failures, const std::string& directory) {
  EXPECT_THAT(failures, testing::Each(failures.front())) << "ranks do not agree";
  EXPECT_THAT(find_damage(job.path(1), true), IsEmpty());
  if (std::filesystem::exists(job.path(2)) || failures.front().empty()) {
    EXPECT_THAT(find_damage(job.path(2), true), IsEmpty());
  }
  FileCalls kernel;
  remove_unfinished(kernel, directory);
  EXPECT_FALSE(std::filesystem::exists(directory + "/" + unfinished_name(2)));
}

TEST(Commit, EveryCallThatFailsOnARankAbortsOnAll) {
  struct Planned {
    int rank;
    PlannedFault fault;
  };
  std::vector<Planned> all;
  int64_t num_calls[2];
  {
    const test::TemporaryFolder folder;
    Job job(folder.path());
    job.save(1);
    FaultyCalls counting[2];
    job.save(2, [&](int rank) -> FileCalls& { return counting[rank]; }, {.keep = 2});
    for (int rank : {0, 1}) num_calls[rank] = std::ssize(counting[rank].calls());
  }
  for (const int rank : {0, 1}) {
    for (int64_t at = 0; at < num_calls[rank]; ++at) {
      for (const int error : {ENOSPC, EIO}) all.push_back({rank, {PlannedFault::Kind::error, at, error}});
      all.push_back({rank, {PlannedFault::Kind::zero_write, at, ENOSPC}});
      all.push_back({rank, {PlannedFault::Kind::short_write, at, EDQUOT}});
    }
  }
  int failed = 0, warned = 0;
  for (const Planned& planned : test::sample(all, 36)) {
    const test::TemporaryFolder folder;
    Job job(folder.path());
    job.save(1);
    FaultyCalls faulty(planned.fault), healthy;
    const auto failures =
        job.save(2, [&](int rank) -> FileCalls& { return rank == planned.rank ? faulty : healthy; });
    SCOPED_TRACE(fmt::format("rank {}, call {} ({}), kind {}: {}", planned.rank, planned.fault.at,
                             faulty.failed_call(), static_cast<int>(planned.fault.kind), failures.front()));
    expect_sound(job, failures, folder.path());
    if (failures.front().empty()) {
      EXPECT_EQ(read_manifest(job.path(2)).state.step, 2);
      if (!job.warnings.empty()) ++warned;
      continue;
    }
    ++failed;
    EXPECT_THAT(failures.front(), HasSubstr(fmt::format("step 2 was not saved: rank {}", planned.rank)));
    EXPECT_THAT(failures.front(), HasSubstr(folder.path()));  // names the file
    // The disk has room again.
    job.save(3);
    EXPECT_THAT(find_damage(job.path(3), true), IsEmpty());
  }
  EXPECT_GT(failed, 0);
  EXPECT_TRUE(warned > 0 || !test::whole_tier());
}

TEST(Commit, WhatFailsAfterItCountsIsAWarning) {
  const test::TemporaryFolder folder;
  Job job(folder.path());
  job.save(2);
  // Step 2 cannot be taken its name.
  class Stuck final : public FileCalls {
    int rename(const char* from, const char* to) override {
      return std::string_view(to).ends_with(".tmp") ? (errno = EIO, -1) : FileCalls::rename(from, to);
    }
  } stuck;
  EXPECT_THAT(job.save(3, [&](int) -> FileCalls& { return stuck; }, {.keep = 1}), testing::Each(""));
  EXPECT_THAT(job.warnings, ElementsAre(HasSubstr("EIO")));
  EXPECT_THAT(checkpoint_steps(folder.path()), ElementsAre(3, 2));
  EXPECT_THAT(find_damage(job.path(2), true), IsEmpty());
}

// Unsynced data dropped, unsynced names undone, after every call: what has counted stays, what has a name is
// whole.
TEST(Commit, PowerCuts) {
  const test::TemporaryFolder folder;
  Job job(folder.path());
  test::RecordedCalls recorded;
  const auto calls = [&](int) -> FileCalls& { return recorded; };
  std::vector<size_t> counted;  // calls until the save of step i + 1 had returned
  for (const int64_t step : {1, 2, 2}) {
    EXPECT_THAT(job.save(step, calls, {.keep = 1}), testing::Each(""));
    counted.push_back(recorded.calls().size());
  }
  const test::PowerCuts cuts(folder.path(), recorded.calls());
  std::vector<size_t> moments;
  for (size_t n = 0; n <= cuts.num_calls(); ++n) moments.push_back(n);
  int num_states = 0;
  FileCalls kernel;
  for (const size_t moment : test::sample(moments, 24)) {
    for (const test::DiskState& state : cuts.states_after(moment)) {
      const test::TemporaryFolder after;
      test::put_on_disk(state, after.path());
      SCOPED_TRACE(fmt::format("cut after call {} of {}", moment, cuts.num_calls()));
      remove_unfinished(kernel, after.path());
      const std::vector<int64_t> steps = checkpoint_steps(after.path());
      for (const int64_t step : steps)
        ASSERT_THAT(find_damage(after.path(checkpoint_name(step)), true), IsEmpty());
      const int64_t newest = steps.empty() ? 0 : steps.front();
      EXPECT_GE(newest, moment >= counted[1] ? 2 : moment >= counted[0] ? 1 : 0);
      ++num_states;
    }
  }
  EXPECT_GT(num_states, 20);
}

TEST(Commit, ADirectoryThatNotAllRanksSeeIsFoundBeforehand) {
  const test::TemporaryFolder here, there;
  FileCalls kernel;
  run_thread_ranks(3, [&](Communicator& world) {
    check_shared_directory(kernel, world, here.path("new"));
    const std::string own = world.rank() == 2 ? there.path() : here.path();
    test::expect_error(ExitCode::usage, {"not all ranks see", "rank 2", "file system shared by all hosts"},
                       [&] { check_shared_directory(kernel, world, own); });
    test::expect_error(ExitCode::checkpoint, {"cannot be written: rank 0", "/nowhere"},
                       [&] { check_shared_directory(kernel, world, "/nowhere/at/all"); });
  });
  EXPECT_THAT(here.names(), ElementsAre("new"));
}

TEST(Vote, TheFirstFailureIsToldToAll) {
  run_thread_ranks(4, [](Communicator& world) {
    EXPECT_EQ(first_failure(world, ""), "");
    EXPECT_EQ(first_failure(world, world.rank() == 2 ? "disk full" : ""), "rank 2: disk full");
    EXPECT_EQ(first_failure(world, world.rank() > 0 ? fmt::format("no {}", world.rank()) : ""),
              "rank 1 (and 2 more): no 1");
  });
}

}  // namespace
}  // namespace trireme

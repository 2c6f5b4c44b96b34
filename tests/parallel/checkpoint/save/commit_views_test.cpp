// Ranks that do not see, write or hold what the others think: none of it counts.
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/checkpoint/save/commit.h"
#include "parallel/checkpoint/snapshot.h"
#include "runtime/comm/threads/thread_communicator.h"

#include "tests/support/expect_error.h"
#include "tests/support/state_of_ranks.h"
#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

using testing::IsEmpty;

// Each rank writes into a directory of its own: the first finds no parts of the others.
TEST(Commit, RanksThatSeeAnotherDirectoryDoNotCommit) {
  const test::TemporaryFolder here, there;
  FileCalls kernel;
  run_thread_ranks(2, [&](Communicator& world) {
    CommitRequest request;
    request.directory = (world.rank() == 0 ? here : there).path();
    std::filesystem::create_directories(there.path(unfinished_name(0)));
    test::expect_error(ExitCode::checkpoint, {"rank 0: cannot open", "part-00001.json"}, [&] {
      commit_checkpoint(kernel, world, request, [](const std::string&) { return WrittenPart(); });
    });
  });
  EXPECT_THAT(here.names(), IsEmpty());
}

// What the first rank finds is not what another wrote: a part of before, or a file without its end.
TEST(Commit, StalePartsAndFilesDoNotCount) {
  const test::TemporaryFolder here, there;
  FileCalls kernel;
  const auto slices = test::owned_slices(test::logical_tensors(1), 2, 0);
  for (const bool is_stale : {true, false}) {
    run_thread_ranks(2, [&](Communicator& world) {
      const bool is_first = world.rank() == 0;
      std::filesystem::create_directories(there.path(unfinished_name(0)));
      Snapshot snapshot;
      snapshot.take(world.rank(), test::sources_of(slices[static_cast<size_t>(world.rank())], 0));
      const auto write = [&](const std::string& to) {
        WrittenPart part = snapshot.write(kernel, to);
        const StoredFile& file = part.stored.files[0];
        if (is_stale && is_first) std::ofstream(to + "/part-00001.json") << "of before";
        if (!is_stale && !is_first)
          std::filesystem::resize_file(to + "/" + file.name, static_cast<size_t>(file.bytes - 1));
        return part;
      };
      CommitRequest request;
      request.directory = (is_stale && !is_first ? there : here).path();
      const char* words =
          is_stale ? "part-00001.json is not what rank 1 wrote" : "rank-00001.safetensors has";
      test::expect_error(ExitCode::checkpoint, {"rank 0", words},
                         [&] { commit_checkpoint(kernel, world, request, write); });
    });
    EXPECT_THAT(here.names(), IsEmpty());
  }
}

// After a rename that failed nobody knows which name the disk has.
TEST(Commit, WhatMayHaveItsNameIsNotRemoved) {
  class Lost final : public FileCalls {
    int rename(const char* from, const char* to) override {
      return std::string_view(from).ends_with(".tmp") ? (errno = EIO, -1) : FileCalls::rename(from, to);
    }
  } lost;
  FileCalls kernel;
  const test::TemporaryFolder folder;
  const auto slices = test::owned_slices(test::logical_tensors(1), 2, 0);
  for (FileCalls* calls : {static_cast<FileCalls*>(&lost), &kernel}) {
    run_thread_ranks(2, [&](Communicator& world) {
      Snapshot snapshot;
      snapshot.take(world.rank(), test::sources_of(slices[static_cast<size_t>(world.rank())], 0));
      const auto commit = [&] {
        commit_checkpoint(*calls, world, {folder.path(), {}, {}},
                          [&](const std::string& to) { return snapshot.write(*calls, to); });
      };
      if (calls == &kernel) return commit();
      test::expect_error(ExitCode::checkpoint, {"rank 0", "EIO"}, commit);
    });
    if (calls == &kernel) continue;
    EXPECT_THAT(folder.names(), testing::ElementsAre(unfinished_name(0)));
    EXPECT_TRUE(std::filesystem::exists(folder.path(unfinished_name(0) + "/manifest.json")));
  }
  EXPECT_THAT(find_damage(folder.path(checkpoint_name(0)), true), IsEmpty());
}

// A defect of who divides the state: an element that nobody writes, or two do.
TEST(Commit, StateThatIsNotWholeDoesNotCount) {
  const test::TemporaryFolder folder;
  FileCalls kernel;
  const std::vector<Slice> slices = {{"w", DType::f32, {4, 4}, {{0, 0}, {2, 4}}},
                                     {"w", DType::f32, {4, 4}, {{1, 0}, {2, 4}}}};
  run_thread_ranks(2, [&](Communicator& world) {
    Snapshot snapshot;
    snapshot.take(world.rank(), test::sources_of({slices[static_cast<size_t>(world.rank())]}, 0));
    test::expect_error(ExitCode::checkpoint, {"\"tensors.w\" is incomplete", "overlap"}, [&] {
      commit_checkpoint(kernel, world, {folder.path(), {}, {}},
                        [&](const std::string& to) { return snapshot.write(kernel, to); });
    });
  });
  EXPECT_THAT(folder.names(), IsEmpty());
}

}  // namespace
}  // namespace trireme

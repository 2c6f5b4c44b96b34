#include "parallel/checkpoint/load/resume.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/checkpoint/load/load_slices.h"
#include "parallel/checkpoint/save/commit.h"
#include "parallel/checkpoint/snapshot.h"
#include "runtime/comm/threads/thread_communicator.h"

#include "tests/support/expect_error.h"
#include "tests/support/state_of_ranks.h"
#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Resume : public testing::Test {
 protected:
  static constexpr int kRanks = 3;

  void save(int64_t step) {
    run_thread_ranks(kRanks, [&](Communicator& world) {
      Snapshot snapshot;
      snapshot.take(world.rank(), test::sources_of(slices_[static_cast<size_t>(world.rank())],
                                                   static_cast<uint64_t>(step)));
      CommitRequest request{folder_.path(), {}, {}};
      request.state.step = step;
      commit_checkpoint(kernel_, world, request,
                        [&](const std::string& to) { return snapshot.write(kernel_, to); });
    });
  }

  /// The step that a run goes on from, -1 for none; its state is compared on all ranks. `warnings_` are
  /// theirs.
  int64_t resume() {
    std::vector<int64_t> found(kRanks);
    warnings_.assign(kRanks, {});
    run_thread_ranks(kRanks, [&](Communicator& world) {
      const auto rank = static_cast<size_t>(world.rank());
      const auto& own = slices_[rank];
      std::vector<std::vector<std::byte>> memory;
      std::vector<SliceTarget> targets;
      for (const Slice& slice : own) {
        memory.emplace_back(static_cast<size_t>(slice.bytes()));
        targets.push_back({slice, into_memory(slice.box, slice.dtype, memory.back())});
      }
      const auto load = [&](const std::string& path, const Manifest& manifest) {
        load_slices(world, path, manifest, make_load_plan(manifest.stored.slices, slices_, path), targets);
      };
      const auto resumed =
          load_newest(world, folder_.path(), agreed_steps(world, folder_.path()), load, warnings_[rank]);
      if (resumed && rank == 0)
        note_resumes(kernel_, folder_.path(), resumed->manifest.state.step, resumed->resumes_before + 1);
      found[rank] = resumed ? resumed->manifest.state.step : -1;
      for (size_t i = 0; resumed && i < own.size(); ++i)
        EXPECT_EQ(memory[i], test::bytes_of(own[i], static_cast<uint64_t>(found[rank])));
    });
    EXPECT_THAT(found, testing::Each(found.front()));
    EXPECT_THAT(warnings_, testing::Each(warnings_.front()));
    return found.front();
  }

  void damage(int64_t step, const std::string& file, int64_t byte) const {
    std::fstream out(folder_.path(checkpoint_name(step) + "/" + file),
                     std::ios::in | std::ios::out | std::ios::binary);
    out.seekg(byte);
    const int before = out.get();
    out.seekp(byte);
    out.put(static_cast<char>(before ^ 1));
    ASSERT_TRUE(out.good());
  }

  test::TemporaryFolder folder_;
  FileCalls kernel_;
  std::vector<test::LogicalTensor> tensors_ = test::logical_tensors(2);
  std::vector<std::vector<Slice>> slices_ = test::owned_slices(tensors_, kRanks, 0);
  std::vector<std::vector<std::string>> warnings_;
};

TEST_F(Resume, TheNewestThatIsWhole) {
  EXPECT_EQ(resume(), -1);
  for (const int64_t step : {10, 20, 30}) save(step);
  EXPECT_EQ(resume(), 30);
  EXPECT_THAT(warnings_[0], IsEmpty());
  damage(30, "rank-00001.safetensors", 300);
  EXPECT_EQ(resume(), 20);
  EXPECT_THAT(warnings_[2], ElementsAre(testing::AllOf(HasSubstr("step-00000030 is skipped: rank "),
                                                       HasSubstr("rank-00001.safetensors is damaged"))));
  damage(20, "manifest.json", 100);
  std::filesystem::remove(folder_.path("step-00000010/rank-00002.safetensors"));
  EXPECT_EQ(resume(), -1);
  EXPECT_THAT(warnings_[1], ElementsAre(HasSubstr("step-00000030"), HasSubstr("manifest.json is damaged"),
                                        HasSubstr("No such file or directory")));
}

TEST_F(Resume, TwoRunsInVainLeadToTheOneBefore) {
  save(10);
  save(20);
  EXPECT_EQ(resume(), 20);
  EXPECT_EQ(resume(), 20);
  EXPECT_EQ(resume(), 10);
  EXPECT_THAT(warnings_[1], ElementsAre(HasSubstr("step-00000020 is skipped: 2 runs resumed from it")));
  note_resumes(kernel_, folder_.path(), 20, 1);  // the second was asked to end
  EXPECT_EQ(resume(), 20);
  EXPECT_EQ(resume(), 10);
  note_resumes(kernel_, folder_.path(), 20, kMostResumes);
  save(20);  // the run came to it again
  EXPECT_EQ(resume(), 20);
  std::filesystem::remove_all(folder_.path("step-00000010"));
  EXPECT_EQ(resume(), 20);
  EXPECT_EQ(resume(), 20) << "there is no other";
}

TEST_F(Resume, RanksThatReadAnotherManifestSayIt) {
  save(10);
  const test::TemporaryFolder other;
  std::filesystem::copy(folder_.path(), other.path(), std::filesystem::copy_options::recursive);
  save(10);
  std::ofstream(folder_.path("notes")) << "nothing of ours";
  run_thread_ranks(2, [&](Communicator& world) {
    const std::string path = (world.rank() == 0 ? folder_ : other).path(checkpoint_name(10));
    EXPECT_EQ(read_manifest_together(world, path).state.step, 10);  // the same bytes
  });
  save(20);
  std::filesystem::copy(
      folder_.path(checkpoint_name(20)), other.path(checkpoint_name(10)),
      std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
  run_thread_ranks(2, [&](Communicator& world) {
    const std::string path = (world.rank() == 0 ? folder_ : other).path(checkpoint_name(10));
    test::expect_error(ExitCode::checkpoint, {"rank 1: ", "differs from what rank 0 reads"},
                       [&] { read_manifest_together(world, path); });
  });
}

}  // namespace
}  // namespace trireme

#include "launch/profile/gemm_peak.h"

#include <array>
#include <filesystem>

#include <gmock/gmock.h>

#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/io/json/json_file.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

constexpr double kShort = 1;  // FLOPs of a run: a few products are measured

TEST(GemmPeak, IsOneForAllRanksAndRisesForAll) {
  constexpr size_t kRanks = 3;
  std::array<Peak, kRanks> first, raised;
  run_thread_ranks(kRanks, [&](Communicator& world) {
    const auto rank = static_cast<size_t>(world.rank());
    Context ctx;
    GemmPeak peak(ctx, world, DType::f32, PeakStore(""));
    ASSERT_EQ(peak.hosts().size(), 1u);
    EXPECT_EQ(peak.hosts()[0].num_ranks, 3);
    EXPECT_EQ(peak.hosts()[0].threads, 3);
    peak.measure(kShort);
    first[rank] = peak.peak();
    EXPECT_GT(peak.rank_flops(), 0);
    EXPECT_THAT(peak.text(), testing::StartsWith("MFU is against"));
    if (rank == 1) {
      EXPECT_EQ(peak.share_of(1e18), 1);
    }
    EXPECT_EQ(peak.is_due(), rank == 1);
    peak.measure_again();
    raised[rank] = peak.peak();
    EXPECT_FALSE(peak.is_due());
    EXPECT_EQ(ctx.allocator().stats().total.current, 0);
  });
  for (size_t rank = 0; rank < kRanks; ++rank) {
    EXPECT_GT(first[rank].flops, 1e7);
    EXPECT_EQ(first[rank].flops, first[0].flops);
    EXPECT_EQ(first[rank].source, first[0].source);
    EXPECT_EQ(raised[rank].flops, 1e18);
    EXPECT_EQ(raised[rank].source, PeakSource::raised);
  }
}

TEST(GemmPeak, OneRankOfAHostKeepsWhatIsSure) {
  const test::TemporaryFolder folder;
  const std::string file = folder.path("peaks.json");
  Peak peak;
  run_thread_ranks(2, [&](Communicator& world) {
    Context ctx;
    GemmPeak measured(ctx, world, DType::f32, PeakStore(world.rank() == 0 ? file : folder.path("other")));
    measured.measure(kShort);
    if (world.rank() == 0) peak = measured.peak();
  });
  EXPECT_FALSE(std::filesystem::exists(folder.path("other")));
  ASSERT_EQ(std::filesystem::exists(file), peak.is_sure());  // a busy machine's is not
  if (!peak.is_sure()) return;
  const auto kept = read_json_file(file);
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_THAT(kept.begin().key(), testing::AllOf(testing::HasSubstr("; fp32; 2 ranks, 2 threads, "),
                                                 testing::HasSubstr("oneDNN")));
  EXPECT_EQ(kept.begin().value(), peak.flops);
}

}  // namespace
}  // namespace trireme::launch

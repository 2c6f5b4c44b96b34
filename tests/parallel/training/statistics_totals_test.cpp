// What layers count is summed over the ranks that share them, and handed back.
#include "parallel/training/statistics_totals.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/module/router_balance.h"
#include "parallel/training/router_load.h"
#include "runtime/comm/threads/thread_communicator.h"

namespace trireme {
namespace {

using testing::ElementsAre;

class Counts final : public LayerStatistics {
 public:
  Counts(int64_t block, std::vector<double> numbers)
      : LayerStatistics(StatisticsKind::router, "layers.counts", block), numbers_(std::move(numbers)) {}
  void clear() override { numbers_.assign(numbers_.size(), 0); }
  std::vector<double> counted() const override { return numbers_; }
  double seconds() override { return numbers_.front(); }
  void finish(std::span<const double> batch) override { finished.assign(batch.begin(), batch.end()); }

  std::vector<double> finished;

 private:
  std::vector<double> numbers_;
};

// Two stages of two data ranks; those of the second stage lie before the first one's in the model, and count
// more numbers.
TEST(StatisticsTotals, AddUpOverDataRanksAndReachAllStages) {
  run_thread_ranks(4, [](Communicator& world) {
    Context ctx;
    const ParallelContext parallel(world, {.data = 2, .pipeline = 2});
    const double d = parallel.data().rank() + 1;
    Counts late(5, {d, 10 * d}), early(1, {d, 2 * d, 3 * d}), middle(3, {7});
    const bool is_first = parallel.pipeline().rank() == 0;
    StatisticsTotals totals(
        ctx, parallel,
        is_first ? std::vector<LayerStatistics*>{&late} : std::vector<LayerStatistics*>{&early, &middle});
    totals.sum(ctx);
    ASSERT_EQ(totals.all().size(), 3u);
    EXPECT_THAT(totals.all()[0].counts, ElementsAre(3, 6, 9));
    EXPECT_THAT(totals.all()[1].counts, ElementsAre(14));
    EXPECT_THAT(totals.all()[2].counts, ElementsAre(3, 30));
    EXPECT_EQ(totals.all()[2].layer, 5);
    EXPECT_EQ(totals.all()[2].mean_seconds, 1.5);
    EXPECT_EQ(totals.all()[2].slowest_seconds, 2);
    totals.finish();
    if (is_first) {
      EXPECT_THAT(late.finished, ElementsAre(3, 30));
    } else {
      EXPECT_THAT(early.finished, ElementsAre(3, 6, 9));
      EXPECT_THAT(middle.finished, ElementsAre(14));
    }
    totals.clear();
    EXPECT_THAT((is_first ? late : middle).counted(), testing::Each(0));
  });
}

TEST(StatisticsTotals, RoutersAreReadBack) {
  RouterBalance balance("layers.2.ffn.router", 2, 3, 0);
  balance.sums = {8, 1, 0.5, 0.25, {3, 4, 1}};
  const LayerTotals totals{StatisticsKind::router, 2, balance.counted(), 1, 2};
  const RouterLoad load = router_loads({&totals, 1}).at(0);
  EXPECT_EQ(load.layer, 2);
  EXPECT_EQ(load.sums.num_dropped, 1);
  EXPECT_EQ(load.sums.aux_loss, 0.5);
  EXPECT_THAT(load.sums.chosen, ElementsAre(3, 4, 1));
}

}  // namespace
}  // namespace trireme

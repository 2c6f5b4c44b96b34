#include "launch/trainer/batch_schedule.h"

#include <gtest/gtest.h>

namespace trireme {
namespace {

TEST(EvaluationMicroBatches, EverySampleCountsOnceAndReplicasGetEquallyMany) {
  Context ctx;
  constexpr int64_t kSeqLen = 4;
  const auto source = std::make_shared<TokenVector>(std::vector<int32_t>(81, 3), "threes");
  const BatchReader reader(source, SampleOrder::sequential(81, kSeqLen, "threes"), 5);
  for (const int count : {1, 2, 3, 8}) {
    for (const int64_t num_samples : {0, 1, 4, 7, 9}) {
      int64_t num_targets = 0;
      const size_t rounds = static_cast<size_t>((num_samples + 2 * count - 1) / (2 * count));
      for (int index = 0; index < count; ++index) {
        const auto batches = evaluation_micro_batches(ctx, reader, {index, count, {}}, num_samples, 2);
        EXPECT_EQ(batches.size(), rounds);
        for (const MicroBatch& mb : batches) {
          num_targets += mb.num_targets;
          int64_t counted = 0;
          for (int64_t i = 0; i < mb.rows(); ++i) counted += mb.targets.data<int32_t>()[i] >= 0;
          EXPECT_EQ(counted, mb.num_targets);
        }
      }
      EXPECT_EQ(num_targets, num_samples * kSeqLen) << count << " replicas, " << num_samples << " samples";
    }
  }
}

}  // namespace
}  // namespace trireme

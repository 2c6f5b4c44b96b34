#include "launch/run/batch_schedule.h"

#include <gtest/gtest.h>

namespace trireme::launch {
namespace {

TEST(TrainingSamples, ReplicasTakeEverySampleOfAStepOnce) {
  for (const int count : {1, 2, 3}) {
    std::vector<std::vector<int64_t>> steps(4);
    for (int index = 0; index < count; ++index) {
      const SampleRow row = training_samples({index, count, {}}, 4, 12, 2);
      ASSERT_EQ(row.num_batches, 4 * 12 / (2 * count));
      for (int64_t i = 0; i < row.num_batches; ++i) {
        const SampleRun run = row.at(i);
        EXPECT_EQ(run.count, 2);
        for (int64_t k = 0; k < 2; ++k)
          steps[static_cast<size_t>(i * 4 / row.num_batches)].push_back(run.first + k);
      }
      // Micro-batches in turn.
      EXPECT_EQ(row.at(1).first - row.at(0).first, 2 * count);
      EXPECT_EQ(row.at(0).first, 2 * index);
    }
    for (int64_t step = 0; step < 4; ++step) {
      auto& samples = steps[static_cast<size_t>(step)];
      std::ranges::sort(samples);
      ASSERT_EQ(samples.size(), 12);
      for (int64_t k = 0; k < 12; ++k) EXPECT_EQ(samples[static_cast<size_t>(k)], 12 * step + k);
    }
  }
}

TEST(EvaluationMicroBatches, EverySampleCountsOnceAndReplicasGetEquallyMany) {
  Context ctx;
  constexpr int64_t kSeqLen = 4;
  const auto source = std::make_shared<TokenVector>(std::vector<int32_t>(81, 3), "threes");
  const BatchReader reader(source, SampleOrder::sequential(81, kSeqLen, "threes"), 5);
  for (const int count : {1, 2, 3, 8}) {
    for (const int64_t num_samples : {0, 1, 4, 7, 9}) {
      double weight = 0;
      const size_t rounds = static_cast<size_t>((num_samples + 2 * count - 1) / (2 * count));
      for (int index = 0; index < count; ++index) {
        const auto batches = evaluation_micro_batches(ctx, reader, {index, count, {}}, num_samples, 2);
        EXPECT_EQ(batches.size(), rounds);
        for (const MicroBatch& mb : batches) {
          weight += mb.weight;
          int64_t counted = 0;
          for (int64_t i = 0; i < mb.rows(); ++i) counted += mb.targets.data<int32_t>()[i] >= 0;
          EXPECT_EQ(counted, mb.weight);
        }
      }
      EXPECT_EQ(weight, num_samples * kSeqLen) << count << " replicas, " << num_samples << " samples";
    }
  }
}

TEST(EvaluationBatches, HandsOutTheSameAFewAtATime) {
  Context ctx;
  std::vector<int32_t> ids(100);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  const auto source = std::make_shared<TokenVector>(ids, "numbers");
  const BatchReader reader(source, SampleOrder::sequential(100, 4, "numbers"), 100);
  for (const int count : {1, 3}) {
    const Replica replica{count - 1, count, {}};
    const auto all = evaluation_micro_batches(ctx, reader, replica, 23, 2);
    for (const int64_t most : {1, 2, 5, 100}) {
      EvaluationBatches batches(ctx, reader, replica, 23, 2);
      size_t at = 0;
      for (auto some = batches.next(most); !some.empty(); some = batches.next(most)) {
        EXPECT_LE(std::ssize(some), most);
        for (const MicroBatch& mb : some) {
          ASSERT_LT(at, all.size());
          EXPECT_EQ(mb.first_sample, all[at].first_sample);
          EXPECT_EQ(mb.weight, all[at++].weight);
        }
      }
      EXPECT_EQ(at, all.size());
      EXPECT_EQ(batches.num_done(), 23);
    }
  }
}

TEST(EvaluationBatches, ABoundNeverWraps) {
  EXPECT_EQ(num_evaluated(1000, 0, 8), 1000);
  EXPECT_EQ(num_evaluated(1000, 3, 8), 24);
  EXPECT_EQ(num_evaluated(1000, 125, 8), 1000);
  EXPECT_EQ(num_evaluated(1000, 126, 8), 1000);
  EXPECT_EQ(num_evaluated(1000, int64_t{1} << 53, 2048), 1000);
  EXPECT_EQ(num_evaluated(3, 1, 8), 3);
}

}  // namespace
}  // namespace trireme::launch

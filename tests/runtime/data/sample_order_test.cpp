#include "runtime/data/sample_order.h"

#include <set>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/data/batch_reader.h"
#include "tests/support/expect_error.h"

namespace trireme {
namespace {

using test::expect_error;

TEST(Permutation, IsABijectionForEverySize) {
  for (int64_t size = 1; size <= 300; ++size) {
    const Permutation permutation(7, 3, size);
    std::set<int64_t> seen;
    for (int64_t i = 0; i < size; ++i) {
      const int64_t value = permutation(i);
      ASSERT_TRUE(value >= 0 && value < size);
      seen.insert(value);
    }
    ASSERT_EQ(static_cast<int64_t>(seen.size()), size);
  }
}

TEST(Permutation, WorksForHugeSizes) {
  const int64_t size = (int64_t{1} << 62) - 3;
  const Permutation permutation(1, 0, size);
  std::set<int64_t> seen;
  for (int64_t i = 0; i < 1000; ++i) {
    const int64_t value = permutation(size - 1 - i);
    ASSERT_TRUE(value >= 0 && value < size);
    seen.insert(value);
  }
  EXPECT_EQ(seen.size(), 1000u);
}

// Runs that are resumed with a later version must meet the same samples.
TEST(Permutation, NeverChanges) {
  std::vector<int64_t> order;
  for (int64_t i = 0; i < 10; ++i) order.push_back(Permutation(1337, 2, 10)(i));
  EXPECT_THAT(order, testing::ElementsAre(2, 1, 5, 8, 7, 9, 0, 6, 4, 3));
}

// Each place is hit by each value about equally often over many seeds (chi-square, 49 degrees of freedom per
// place).
TEST(Permutation, EveryValueComesToEveryPlace) {
  constexpr int kSize = 7, kSeeds = 7000;
  int counts[kSize][kSize] = {};
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const Permutation permutation(seed, 0, kSize);
    for (int i = 0; i < kSize; ++i) ++counts[i][permutation(i)];
  }
  double chi_square = 0;
  for (auto& row : counts) {
    for (const int count : row) chi_square += (count - 1000.0) * (count - 1000.0) / 1000.0;
  }
  EXPECT_LT(chi_square, 80) << "36 degrees of freedom: above 80 once in 30,000";
}

TEST(SampleOrder, AnEpochVisitsEachWindowOnce) {
  for (const int64_t seq_len : {1, 3, 8}) {
    for (int64_t num_tokens = seq_len + 1; num_tokens < 60; ++num_tokens) {
      const auto order = SampleOrder::shuffled(5, num_tokens, seq_len, "text");
      const int64_t n = order.samples_per_epoch();
      ASSERT_GE(n, 1);
      ASSERT_GE(n * seq_len, num_tokens - 2 * seq_len);
      for (int64_t epoch = 0; epoch < 4; ++epoch) {
        std::set<int64_t> positions;
        for (int64_t i = 0; i < n; ++i) positions.insert(order.position(epoch * n + i));
        ASSERT_EQ(static_cast<int64_t>(positions.size()), n);
        ASSERT_GE(*positions.begin(), 0);
        ASSERT_LT(*positions.begin(), seq_len);
        ASSERT_LE(*positions.rbegin() + seq_len + 1, num_tokens);
        ASSERT_EQ(*positions.rbegin() - *positions.begin(), (n - 1) * seq_len);
      }
    }
  }
}

TEST(SampleOrder, EpochsDifferInOffsetAndOrder) {
  const auto order = SampleOrder::shuffled(1, 1000, 10, "text");
  const int64_t n = order.samples_per_epoch();
  std::set<int64_t> offsets, firsts;
  for (int64_t epoch = 0; epoch < 50; ++epoch) {
    offsets.insert(order.position(epoch * n) % 10);
    firsts.insert(order.position(epoch * n) / 10);
  }
  EXPECT_EQ(offsets.size(), 10u);
  EXPECT_GT(firsts.size(), 25u);
}

TEST(SampleOrder, NeverChanges) {
  const auto order = SampleOrder::shuffled(1337, 100, 8, "text");
  std::vector<int64_t> positions;
  for (int64_t i = 0; i < 5; ++i) positions.push_back(order.position(i));
  positions.push_back(order.position(1'000'000'007));
  EXPECT_THAT(positions, testing::ElementsAre(13, 21, 29, 53, 61, 32));
}

TEST(SampleOrder, SequentialCoversTheText) {
  const auto order = SampleOrder::sequential(14, 4, "text");
  EXPECT_EQ(order.samples_per_epoch(), 3);
  for (int64_t i = 0; i < 6; ++i) EXPECT_EQ(order.position(i), i % 3 * 4);
  EXPECT_EQ(SampleOrder::sequential(5, 4, "text").samples_per_epoch(), 1);
  EXPECT_EQ(SampleOrder::sequential(13, 4, "text").samples_per_epoch(), 3);
}

TEST(SampleOrder, ATextThatIsTooShortIsRefusedWithTheNumbers) {
  expect_error(ExitCode::bad_input, {"short.tok", "64 tokens", "length of 64", "at least 65", "at most 63"},
               [] { SampleOrder::shuffled(1, 64, 64, "short.tok"); });
  expect_error(ExitCode::bad_input, {"short.tok", "0 tokens"},
               [] { SampleOrder::sequential(0, 1, "short.tok"); });
}

std::vector<int32_t> counting(int32_t n) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < n; ++i) ids.push_back(i);
  return ids;
}

TEST(BatchReader, TargetsFollowInputs) {
  const auto source = std::make_shared<TokenVector>(counting(50), "counting");
  for (const int64_t seq_len : {1, 7}) {
    const BatchReader reader(source, SampleOrder::shuffled(3, 50, seq_len, "counting"), 50);
    std::vector<int32_t> inputs(static_cast<size_t>(seq_len)), targets(inputs);
    for (int64_t i = 0; i < 100; ++i) {
      reader.read_sample(i, inputs.data(), targets.data());
      for (size_t t = 0; t < inputs.size(); ++t) {
        ASSERT_EQ(inputs[t], reader.order().position(i) + static_cast<int64_t>(t));
        ASSERT_EQ(targets[t], inputs[t] + 1);
      }
    }
  }
}

TEST(BatchReader, AnIdOutsideTheVocabularyIsNamed) {
  const auto whole = std::make_shared<TokenVector>(counting(20), "tokens.bin");
  const auto part = std::make_shared<TokenSlice>(whole, 10, 19);
  std::vector<int32_t> inputs(4), targets(4);
  const BatchReader reader(part, SampleOrder::sequential(9, 4, "part"), 18);
  reader.read_sample(0, inputs.data(), targets.data());
  EXPECT_THAT(inputs, testing::ElementsAre(10, 11, 12, 13));
  // The last target of the second sample is the first bad id.
  expect_error(ExitCode::bad_input, {"tokens.bin", "position 18 is 18", "vocabulary of 18"},
               [&] { reader.read_sample(1, inputs.data(), targets.data()); });
  const BatchReader negative(std::make_shared<TokenVector>(std::vector<int32_t>{0, -3, 0}, "n"),
                             SampleOrder::sequential(3, 2, "n"), 10);
  expect_error(ExitCode::bad_input, {"position 1 is -3"},
               [&] { negative.read_sample(0, inputs.data(), targets.data()); });
}

}  // namespace
}  // namespace trireme

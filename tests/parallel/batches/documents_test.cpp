// Documents in a sequence that do not see each other: where they begin, and what of them is learnt.
#include "parallel/context_parallel/documents.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/ops/host_copy.h"
#include "tests/support/test_device.h"

namespace trireme::test {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;

constexpr int32_t kEnd = 9;

struct Cut {
  std::vector<int32_t> targets, positions, first_keys;
};

Cut cut(const std::vector<int32_t>& tokens, std::vector<int32_t> targets) {
  Cut result{std::move(targets), std::vector<int32_t>(tokens.size()), std::vector<int32_t>(tokens.size())};
  separate_documents(tokens, kEnd, result.targets, result.positions, result.first_keys);
  return result;
}

TEST(Documents, BeginBehindEachEndOfText) {
  // The end of one, one of two tokens, one of its end alone, and the beginning of another.
  const Cut c = cut({1, 2, kEnd, 3, kEnd, kEnd, 4, 5}, {2, kEnd, 3, kEnd, kEnd, 4, 5, 6});
  EXPECT_THAT(c.positions, ElementsAre(0, 1, 2, 0, 1, 0, 0, 1));
  EXPECT_THAT(c.first_keys, ElementsAre(0, 0, 0, 3, 3, 5, 6, 6));
  EXPECT_THAT(c.targets, ElementsAre(2, kEnd, -1, kEnd, -1, -1, 5, 6))
      << "the last token predicts the end, the end predicts nothing";
}

TEST(Documents, OneThatFillsTheSequenceIsASequence) {
  const Cut c = cut({1, 2, 3, 4}, {2, 3, 4, kEnd});
  EXPECT_THAT(c.positions, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(c.first_keys, ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(c.targets, ElementsAre(2, 3, 4, kEnd));
}

TEST(Documents, ContextRanksHoldTheirShareAndKnowWhereAllChunksBegin) {
  Context ctx(test_device());
  const std::vector<int32_t> tokens = {1, kEnd, 2, 3, 4, kEnd, 5, 6, /**/ 1, 2, 3, 4, 5, 6, 7, 8};
  const std::vector<int32_t> targets = {kEnd, 2, 3, 4, kEnd, 5, 6, 7, /**/ 2, 3, 4, 5, 6, 7, 8, kEnd};
  const auto host = [&](const Tensor& t) { return ops::to_host<int32_t>(ctx, t); };
  const MicroBatch first = make_micro_batch(ctx, 2, 8, tokens, targets, {0, 2}, kEnd);
  EXPECT_THAT(host(first.positions), ElementsAre(0, 1, 0, 1, 0, 1, 6, 7));
  EXPECT_THAT(host(first.first_key), ElementsAre(0, 0, 6, 6, 0, 0, 0, 0));
  EXPECT_EQ(first.first_key.shape(), (Shape{2, 4}));
  EXPECT_THAT(host(first.places_in_sequence()), ElementsAre(0, 1, 6, 7, 0, 1, 6, 7));
  EXPECT_THAT(host(first.targets), ElementsAre(kEnd, -1, 6, 7, 2, 3, 8, kEnd));
  EXPECT_EQ(first.weight, 7);
  EXPECT_THAT(first.weight_of_sequence, ElementsAre(6, 8)) << "of both ranks";
  const MicroBatch second = make_micro_batch(ctx, 2, 8, tokens, targets, {1, 2}, kEnd);
  EXPECT_THAT(host(second.positions), ElementsAre(0, 1, 2, 3, 2, 3, 4, 5));
  EXPECT_THAT(host(second.first_key), ElementsAre(2, 2, 2, 2, 0, 0, 0, 0));
  EXPECT_THAT(second.chunk_first_keys, ElementsAre(0, 2, 2, 6, 0, 0, 0, 0));
  EXPECT_THAT(first.chunk_first_keys, ElementsAreArray(second.chunk_first_keys));
}

TEST(Documents, ThatAttendHaveNoBoundaries) {
  Context ctx(test_device());
  const MicroBatch mb =
      make_micro_batch(ctx, 1, 4, std::vector<int32_t>{1, kEnd, 2, 3}, std::vector<int32_t>{kEnd, 2, 3, 4});
  EXPECT_FALSE(mb.first_key);
  EXPECT_THAT(ops::to_host<int32_t>(ctx, mb.positions), ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(mb.weight, 4);
}

}  // namespace
}  // namespace trireme::test

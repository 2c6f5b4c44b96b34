// Which pipeline ranks hold shared weights.
#include "models/spec/weight_holders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/spec/describe.h"
#include "tests/support/layout_run.h"

namespace trireme {
namespace {

using testing::ElementsAre;

ModelSpec spec(int64_t layers, int64_t share, bool tied) {
  ModelConfig config = test::tiny_model(ModelFamily::gpt2);
  config.num_layers = layers;
  config.share = share;
  config.tied_embeddings = tied;
  return spec_of(config);
}

TEST(WeightHolders, OneRankHoldsAll) {
  const WeightHolders holders(spec(5, 2, true), {}, 1);
  EXPECT_TRUE(holders.sets().empty());
  EXPECT_EQ(holders.first_user(5), 1);
  EXPECT_EQ(holders.first_user(4), 2);
  EXPECT_EQ(holders.first_user(6), 0);
}

TEST(WeightHolders, TheEndsHoldATiedTable) {
  const int placement[] = {0, 2, 4, 7};
  const WeightHolders tied(spec(5, 0, true), placement, 3), untied(spec(5, 0, false), placement, 3);
  EXPECT_THAT(tied.sets(), ElementsAre(ElementsAre(0, 2)));
  EXPECT_EQ(tied.set_of(0), 1);
  EXPECT_EQ(tied.set_of(1), 0);
  EXPECT_TRUE(untied.sets().empty());
}

// Embedding, block 0 | 1, 2 | 3 | 4, head, twice over on two ranks; block 1 is first on the second.
TEST(WeightHolders, SetsAreCountedInTheOrderOfTheModel) {
  const int placement[] = {0, 2, 4, 5, 7};
  const WeightHolders four(spec(5, 2, true), placement, 4), two(spec(5, 2, true), placement, 2);
  EXPECT_THAT(four.sets(), ElementsAre(ElementsAre(0, 3), ElementsAre(0, 1, 3), ElementsAre(1, 2)));
  EXPECT_EQ(four.set_of(0), 1);
  EXPECT_EQ(four.set_of(1), 2);  // blocks 0, 2, 4
  EXPECT_EQ(four.set_of(2), 3);  // blocks 1, 3
  EXPECT_EQ(four.rank_of(2), 1);
  EXPECT_THAT(two.sets(), ElementsAre(ElementsAre(0, 1)));
  EXPECT_EQ(two.set_of(0), 1);
  EXPECT_EQ(two.set_of(2), 1);
  EXPECT_EQ(two.rank_of(4), 0);
}

TEST(SharedSpec, ParametersAreThereOnceAndProductsForEachLayer) {
  const auto shared = describe(spec(5, 2, false)), apart = describe(spec(5, 0, false));
  for (size_t i = 0; i < shared.size(); ++i) {
    EXPECT_EQ(shared[i].products.weights(), apart[i].products.weights());
    const bool has_own = i < 3 || i == 6;
    EXPECT_EQ(shared[i].blocks.size(), has_own ? apart[i].blocks.size() : 0) << i;
  }
}

}  // namespace
}  // namespace trireme

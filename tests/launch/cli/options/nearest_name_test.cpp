#include "launch/cli/options/nearest_name.h"

#include <vector>

#include <gtest/gtest.h>

namespace trireme::launch {
namespace {

TEST(NearestName, Distances) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("abcd", "abdc"), 1) << "a swap is one slip";
  EXPECT_EQ(edit_distance("train", "trian"), 1);
}

TEST(NearestName, FindsTypingErrorsAndForgottenSections) {
  const std::vector<std::string> keys = {"model.layers", "model.heads", "train.steps", "optimizer.lr",
                                         "train.seq-len"};
  EXPECT_EQ(nearest_name("model.layer", keys), "model.layers");
  EXPECT_EQ(nearest_name("layers", keys), "model.layers");
  EXPECT_EQ(nearest_name("train.lr", keys), "optimizer.lr");
  EXPECT_EQ(nearest_name("train.seq_len", keys), "train.seq-len");
  EXPECT_EQ(nearest_name("something.else-entirely", keys), "");
  EXPECT_EQ(did_you_mean("train.step", keys, "--"), "; did you mean --train.steps?");
  EXPECT_EQ(did_you_mean("zzzzzz", keys), "");
}

}  // namespace
}  // namespace trireme::launch

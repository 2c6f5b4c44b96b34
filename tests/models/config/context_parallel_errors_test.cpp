#include "models/config/context_parallel_errors.h"

#include <gmock/gmock.h>

namespace trireme {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(ContextParallelErrors, LengthsThatWork) {
  EXPECT_THAT(context_parallel_errors(7, 8, 1), IsEmpty());
  EXPECT_THAT(context_parallel_errors(4, 8, 2), IsEmpty());
  EXPECT_THAT(context_parallel_errors(6, 8, 3), IsEmpty());
  EXPECT_THAT(context_parallel_errors(1024, 1024, 512), IsEmpty());
}

TEST(ContextParallelErrors, OthersNameTheNearestLengthsAndDegrees) {
  EXPECT_THAT(
      context_parallel_errors(100, 1024, 3),
      ElementsAre(AllOf(HasSubstr("train.seq-len 100"), HasSubstr("2 x parallel.context 3 = 6"),
                        HasSubstr("--train.seq-len 96 or 102,"), HasSubstr("--parallel.context 2 or 5"))));
  // Each rank would hold whole tokens, but not two equal chunks.
  EXPECT_THAT(
      context_parallel_errors(12, 1024, 4),
      ElementsAre(AllOf(HasSubstr("--train.seq-len 8 or 16,"), HasSubstr("--parallel.context 3 or 6"))));
}

TEST(ContextParallelErrors, ChunksHoldWhatAConvolutionLooksAt) {
  EXPECT_THAT(context_parallel_errors(12, 64, 2, 4), IsEmpty());
  EXPECT_THAT(context_parallel_errors(8, 64, 1, 16), IsEmpty());
  EXPECT_THAT(context_parallel_errors(8, 64, 2, 4),
              ElementsAre(AllOf(HasSubstr("chunks of 2 tokens"), HasSubstr("--train.seq-len 12 or more"),
                                HasSubstr("--parallel.context 1 or less"))));
}

TEST(ContextParallelErrors, NothingIsProposedThatDoesNotWork) {
  EXPECT_THAT(context_parallel_errors(100, 101, 3), ElementsAre(HasSubstr("--train.seq-len 96,")));
  EXPECT_THAT(context_parallel_errors(5, 1024, 4),
              ElementsAre(AllOf(HasSubstr("--train.seq-len 8,"), testing::EndsWith("--parallel.context 1"))));
  EXPECT_THAT(context_parallel_errors(1, 1024, 2), ElementsAre(testing::EndsWith("--parallel.context 1")));
  EXPECT_THAT(context_parallel_errors(10, 1024, 1 << 20),
              ElementsAre(testing::EndsWith("--parallel.context 5")));
}

}  // namespace
}  // namespace trireme

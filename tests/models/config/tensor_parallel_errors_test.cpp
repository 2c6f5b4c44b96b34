#include "models/config/tensor_parallel_errors.h"

#include <gmock/gmock.h>

namespace trireme {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

ModelConfig model(int64_t heads, int64_t kv_heads) {
  ModelConfig c;
  c.vocab_size = 50257;
  c.num_heads = heads;
  c.num_kv_heads = kv_heads;
  return c;
}

TEST(TensorParallelErrors, DegreesThatWork) {
  for (const int tensor : {1, 2, 3, 4, 6, 12})
    EXPECT_THAT(tensor_parallel_errors(model(12, 12), tensor), IsEmpty());
  for (const int tensor : {1, 2, 4, 8, 16, 32})
    EXPECT_THAT(tensor_parallel_errors(model(32, 8), tensor), IsEmpty());
  EXPECT_THAT(tensor_parallel_errors(model(4, 1), 4), IsEmpty());
}

TEST(TensorParallelErrors, HeadsThatDoNotDivide) {
  EXPECT_THAT(tensor_parallel_errors(model(3, 3), 2),
              ElementsAre(AllOf(HasSubstr("model.heads 3"), HasSubstr("parallel.tensor 2"),
                                HasSubstr("--parallel.tensor 1 or 3"))));
  EXPECT_THAT(tensor_parallel_errors(model(12, 12), 13), ElementsAre(HasSubstr("--parallel.tensor 12")));
}

TEST(TensorParallelErrors, KeyValueHeadsThatNeitherDivideNorAreDivided) {
  EXPECT_THAT(tensor_parallel_errors(model(12, 3), 2),
              ElementsAre(AllOf(HasSubstr("model.kv-heads 3"), HasSubstr("--parallel.tensor 1 or 3"))));
}

TEST(TensorParallelErrors, NothingIsLeftForSomeRank) {
  ModelConfig c = model(8, 8);
  c.ffn_size = 5;
  c.vocab_size = 3;
  EXPECT_THAT(tensor_parallel_errors(c, 8),
              ElementsAre(AllOf(HasSubstr("model.ffn 5"), HasSubstr("tensor 2")),
                          AllOf(HasSubstr("vocabulary of 3"), HasSubstr("tensor 2"))));
  c.vocab_size = 0;
  EXPECT_THAT(tensor_parallel_errors(c, 4), IsEmpty());
}

TEST(SequenceParallelErrors, RowsThatDoNotDivideNameTheNearest) {
  EXPECT_THAT(sequence_parallel_errors(1, 12, 4), IsEmpty());
  EXPECT_THAT(sequence_parallel_errors(2, 6, 4), IsEmpty());
  EXPECT_THAT(sequence_parallel_errors(3, 6, 4),
              ElementsAre(AllOf(HasSubstr("3 x 6 = 18"), HasSubstr("--train.micro-batch 2 or 4"),
                                HasSubstr("--train.seq-len 4 or 8"))));
}

TEST(SequenceParallelErrors, RowsAreThoseOfAContextRank) {
  EXPECT_THAT(sequence_parallel_errors(2, 12, 4, 3), IsEmpty());
  EXPECT_THAT(sequence_parallel_errors(1, 12, 4, 3), IsEmpty());
  EXPECT_THAT(sequence_parallel_errors(1, 12, 4, 2),
              ElementsAre(AllOf(HasSubstr("1 x 6 = 6 tokens (a rank of parallel.context 2)"),
                                HasSubstr("--train.micro-batch 2,"), HasSubstr("--train.seq-len 8 or 16"))));
  EXPECT_THAT(sequence_parallel_errors(1, 10, 3, 1), ElementsAre(HasSubstr("--train.seq-len 9 or 12")));
  EXPECT_THAT(sequence_parallel_errors(1, 20, 3, 2), ElementsAre(HasSubstr("--train.seq-len 12 or 24")));
}

}  // namespace
}  // namespace trireme

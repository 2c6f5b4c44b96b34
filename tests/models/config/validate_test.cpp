#include "models/config/validate.h"

#include <gmock/gmock.h>

#include "models/config/nearest_layouts.h"
#include "models/transformer/transformer.h"
#include "parallel/pipeline/schedule_file.h"
#include "runtime/base/error.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/layout_run.h"

namespace trireme {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

ModelConfig small_model() { return test::tiny_model(ModelFamily::llama); }

TEST(Validate, AModelThatFitsHasNoFaults) {
  EXPECT_THAT(validate(small_model(), {.data = 2, .tensor = 2, .pipeline = 2}, {2, 8, 8}), IsEmpty());
}

// Each rule is asked once, whatever the others say.
TEST(Validate, AllFaultsAtOnce) {
  ModelConfig model = small_model();
  model.num_heads = model.num_kv_heads = 3;
  model.hidden_size = 24;
  const ParallelPlan plan{.data = 2, .tensor = 2, .pipeline = 9, .expert = 2, .virtual_stages = 2};
  EXPECT_THAT(
      validate(model, plan, {2, 4096, 6}),
      ElementsAre(HasSubstr("train.seq-len 4096 is more than model.max-positions"),
                  HasSubstr("parallel.virtual-stages 2 needs --parallel.schedule interleaved, not 1f1b"),
                  HasSubstr("model.heads 3 does not divide by parallel.tensor 2"),
                  HasSubstr("parallel.expert 2 has no effect on a dense model"),
                  HasSubstr("train.global-batch 6 is not a multiple"),
                  HasSubstr("but the model has only 5 layers to place")));
}

TEST(Validate, WhatIsNotKnownIsNotLookedAt) {
  const ParallelPlan plan{.data = 2, .tensor = 2, .context = 4, .sequence = true};
  EXPECT_THAT(validate(small_model(), plan, {}), IsEmpty());
  EXPECT_THAT(validate(small_model(), plan, {.seq_len = 12}),
              ElementsAre(HasSubstr("does not divide by 2 x parallel.context 4")));
  EXPECT_THAT(validate(small_model(), plan, {.micro_batch = 1, .seq_len = 8, .global_batch = 3}),
              ElementsAre(HasSubstr("train.global-batch 3")));
}

TEST(Validate, WhatWouldWrapIsAnsweredAlone) {
  EXPECT_THAT(validate(small_model(), {.data = 1 << 20, .tensor = 1 << 20}, {1, 8, 8}),
              ElementsAre(HasSubstr("the maximum is 1048576")));
  ModelConfig model = small_model();
  model.ffn_size = int64_t{1} << 60;
  EXPECT_THAT(validate(model, {.data = 1, .tensor = 7}, {1, 8, 8}),
              ElementsAre(HasSubstr("more than can be counted"), HasSubstr("more activations")));
}

TEST(Validate, AScheduleFileThatNobodyReadIsAFaultAndNoReadingBegins) {
  ParallelPlan plan{.data = 1, .pipeline = 2, .schedule = ScheduleSpec::named("/no/such")};
  EXPECT_THAT(validate(small_model(), plan, {1, 8, 2}),
              ElementsAre("the schedule /no/such has not been read"));
  read_schedule_of(plan.schedule);
  EXPECT_THAT(validate(small_model(), plan, {1, 8, 2}), ElementsAre(HasSubstr("/no/such")));
  EXPECT_EQ(validate(small_model(), plan, {1, 8, 2}), validate(small_model(), plan, {1, 8, 2}));
}

TEST(Validate, ATransformerIsRefusedWithTheSameWords) {
  const ModelConfig model = small_model();
  const ParallelPlan plan{.data = 1, .pipeline = 4, .virtual_stages = 4};
  const auto errors = validate(model, plan, {});
  ASSERT_EQ(errors.size(), 2u);
  run_thread_ranks(4, [&](Communicator& world) {
    Context ctx;
    const ParallelContext parallel(world, plan);
    try {
      const Transformer refused(ctx, parallel, model, {.max_seq_len = 8});
      ADD_FAILURE() << "a transformer of " << refused.placement().size();
    } catch (const UserError& error) {
      EXPECT_EQ(std::string(error.what()), errors[0] + "\n" + errors[1]);
    }
  });
}

TEST(NearestLayouts, AllOfThemAreWithoutFaults) {
  const ModelConfig model = small_model();
  EXPECT_THAT(nearest_layouts(model, {.tensor = 3}, {2, 8, 0}, 4, 2),
              ElementsAre("--dp 1 --tp 4", "--dp 2 --tp 2"));
  EXPECT_THAT(nearest_layouts(model, {.tensor = 0}, {2, 8, 0}, 4, 2), IsEmpty());
}

}  // namespace
}  // namespace trireme

// What a student's rows are told of a teacher does not depend on either layout.
#include <cmath>
#include <limits>
#include <map>

#include <gtest/gtest.h>

#include "models/distill/few_tokens.h"
#include "models/layers/distillation.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/ops/host_copy.h"
#include "tests/models/distill/distilled_ranks.h"

namespace trireme::test {
namespace {

/// Of all tokens of a step's samples, [global_batch * seq_len, vocabulary of the teacher], on one rank.
std::vector<float> whole_logits(const DistilledLayout& layout, const std::string& file,
                                int64_t first_sample) {
  const ModelConfig model = teacher_model(layout.of_experts, kTeacherVocab);
  const DistillBatches batches = batches_of(layout);
  const auto self = make_self_communicator();
  Context ctx;
  InferenceModel whole(ctx, *self, *open_weights(find_weights(file), model), model, {.max_seq_len = 8});
  std::vector<int32_t> inputs(static_cast<size_t>(batches.global_batch * batches.seq_len)),
      following(inputs.size());
  for (int64_t b = 0; b < batches.global_batch; ++b) {
    const int64_t to = b * batches.seq_len;
    read_some(first_sample + b, batches.seq_len, kStudentVocab, inputs.data() + to, following.data() + to);
  }
  TokenBatch batch =
      make_micro_batch(ctx, batches.global_batch, batches.seq_len, inputs, {}, {}, batches.end_of_text);
  batch.like_paged = true;
  return to_vector(whole.model().logits(ctx, batch));
}

void expect_rows(StudentRank& rank, const MicroBatch& mb, const RowTeacher& teacher, int64_t begin,
                 const std::vector<float>& whole, int64_t first_sample) {
  const TensorParallel tensor(rank.session.parallel());
  const Part own = tensor.part(kStudentVocab);
  ASSERT_EQ(teacher.logits.count, own.size());
  const std::vector<float> logits = to_vector(teacher.logits.matrix);
  const std::vector<int32_t> places = ops::to_host<int32_t>(rank.ctx, mb.places_in_sequence());
  for (int64_t r = 0; r < teacher.logits.rows(); ++r) {
    const int64_t row = begin + r, sample = mb.first_sample - first_sample + row / mb.seq_len;
    const int64_t place = sample * kBatches.seq_len + places[static_cast<size_t>(row)];
    for (int64_t c = 0; c < own.size(); ++c) {
      const float got = logits[static_cast<size_t>(r * teacher.logits.stride() + teacher.logits.begin + c)];
      const float expected = own.begin + c < kStudentVocab - 2
                                 ? whole[static_cast<size_t>(place * kTeacherVocab + own.begin + c)]
                                 : -std::numeric_limits<float>::infinity();
      if (std::isinf(expected)) {
        ASSERT_EQ(got, expected) << "row " << row << ", column " << own.begin + c;
      } else {
        ASSERT_NEAR(got, expected, 2e-5) << "row " << row << ", column " << own.begin + c;
      }
    }
  }
}

class TeacherLayouts : public testing::TestWithParam<DistilledLayout> {};

TEST_P(TeacherLayouts, SayTheSameOfEachRow) {
  const DistilledLayout& layout = GetParam();
  const TemporaryFolder folder;
  const std::string file = teacher_file(folder, teacher_model(layout.of_experts, kTeacherVocab));
  constexpr int64_t kSteps = 2;
  std::map<int64_t, std::vector<float>> whole;
  for (int64_t step = 0; step < kSteps; ++step)
    whole[step] = whole_logits(layout, file, step * kBatches.global_batch);
  distill_on(layout, file, {.max_seq_len = 8, .seed = 5}, [&](StudentRank& rank) {
    for (int64_t step = 0; step < kSteps; ++step) {
      std::vector<MicroBatch> mbs = rank.run.read();
      const int64_t first = step * kBatches.global_batch;
      rank.order(step);
      rank.steps.attach(rank.ctx, mbs);
      const bool is_last =
          rank.session.parallel().pipeline().rank() == rank.session.parallel().pipeline().size() - 1;
      // In order, and again, as a step that is searched for what is not finite.
      for (int pass = 0; pass < 2; ++pass) {
        for (const MicroBatch& mb : mbs) {
          ASSERT_EQ(mb.teacher != nullptr, is_last);
          if (!is_last) continue;
          expect_rows(rank, mb, mb.teacher->rows(rank.ctx, 0, 3), 0, whole.at(step), first);
          expect_rows(rank, mb, mb.teacher->rows(rank.ctx, 3, mb.rows()), 3, whole.at(step), first);
        }
      }
      if (step + 1 < kSteps) {
        rank.run.run_passes(mbs, 1);
        rank.run.apply(1e-3);
      }
    }
  });
}

/// Of the first step.
struct FirstStep {
  NamedTensors gradients;
  double loss = 0, added = 0;
};

FirstStep first_step(const DistilledLayout& layout, const std::string& file, TeacherTokens tokens) {
  FirstStep result;
  DistillConfig distill{.divergence = DivergenceKind::skew_forward, .weight = 0.7, .temperature = 2};
  distill.tokens = tokens;
  if (tokens != TeacherTokens::all) distill.divergence = DivergenceKind::forward_kl;
  const SessionOptions options{
      .max_seq_len = 8, .seed = 5, .objective = std::make_shared<const Distillation>(LossConfig(), distill)};
  distill_on(layout, file, options, [&](StudentRank& rank) {
    std::vector<MicroBatch> mbs = rank.run.read();
    rank.order(0);
    rank.steps.attach(rank.ctx, mbs);
    for (MicroBatch& mb : mbs) {
      if (tokens == TeacherTokens::all || !mb.teacher) continue;
      mb.teacher = std::make_shared<FewTokens>(mb.teacher, TensorParallel(rank.session.parallel()),
                                               kStudentVocab, FewTokensOptions{tokens, 5, 2, 3}, mb);
    }
    const StepNumbers numbers = rank.run.run_passes(mbs, 1);
    NamedTensors gradients = rank.run.collect(ParameterState::gradient);
    if (rank.session.parallel().world().rank() != 0) return;
    result = {std::move(gradients), numbers.totals().mean_loss(), numbers.totals().mean_objective()};
  });
  return result;
}

TEST_P(TeacherLayouts, GiveTheGradientsOfOneRank) {
  DistilledLayout one = GetParam();
  one.ranks = 1;
  one.own = 0;
  one.teacher = one.student = {};
  const TemporaryFolder folder;
  const std::string file = teacher_file(folder, teacher_model(one.of_experts, kTeacherVocab));
  const bool few = GetParam().student.context > 1 || GetParam().own > 0;
  const TeacherTokens tokens = few ? TeacherTokens::sampled : TeacherTokens::all;
  const FirstStep expected = first_step(one, file, tokens), found = first_step(GetParam(), file, tokens);
  std::string worst;
  EXPECT_LE(largest_difference(found.gradients, expected.gradients, worst), 2e-5) << worst;
  EXPECT_NEAR(found.loss, expected.loss, 1e-5);
  EXPECT_NEAR(found.added, expected.added, 1e-5);
  EXPECT_GT(std::abs(expected.added - expected.loss), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(
    Ranks, TeacherLayouts,
    testing::Values(
        DistilledLayout{.name = "one", .ranks = 1, .documents = true},
        DistilledLayout{.name = "tp_beside_dp", .ranks = 2, .teacher = {.tensor = 2}, .student = {.data = 2}},
        DistilledLayout{.name = "dp_beside_tp", .ranks = 2, .teacher = {}, .student = {.tensor = 2}},
        DistilledLayout{.name = "pp_beside_cp",
                        .ranks = 2,
                        .teacher = {.pipeline = 2},
                        .student = {.context = 2},
                        .documents = true},
        DistilledLayout{.name = "dp_beside_pp", .ranks = 2, .teacher = {}, .student = {.pipeline = 2}},
        DistilledLayout{.name = "ep_beside_dp_tp",
                        .ranks = 4,
                        .teacher = {.tensor = 2, .expert = 2},
                        .student = {.data = 2, .tensor = 2, .sequence = true},
                        .of_experts = true},
        DistilledLayout{.name = "three_beside_pp_cp",
                        .ranks = 4,
                        .teacher = {.tensor = 4},
                        .student = {.pipeline = 2, .context = 2}},
        DistilledLayout{.name = "own_one", .ranks = 2, .own = 1},
        DistilledLayout{
            .name = "own_tp", .ranks = 4, .own = 2, .teacher = {.tensor = 2}, .student = {.data = 2}},
        DistilledLayout{
            .name = "own_three_replicas", .ranks = 5, .own = 3, .teacher = {}, .student = {.pipeline = 2}},
        DistilledLayout{
            .name = "own_pp", .ranks = 4, .own = 2, .teacher = {.pipeline = 2}, .student = {.tensor = 2}}),
    [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace trireme::test

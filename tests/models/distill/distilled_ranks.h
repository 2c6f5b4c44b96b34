// A teacher and a student on ranks of one job, in a layout each, with samples that follow from their numbers.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "models/distill/serve_teacher.h"
#include "models/distill/teacher_steps.h"
#include "models/formats/open_weights.h"
#include "models/session/stepwise_run.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/layout_run.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tensors.h"

namespace trireme::test {

struct DistilledLayout {
  std::string name;
  int ranks = 1;  ///< of the job
  int own = 0;    ///< of these the teacher's alone, the last
  ParallelPlan teacher = {}, student = {};
  bool of_experts = false;  ///< the teacher is a mixture
  bool documents = false;
};
inline void PrintTo(const DistilledLayout& layout, std::ostream* out) { *out << layout.name; }

inline ModelConfig teacher_model(bool of_experts, int64_t vocab_size) {
  ModelConfig model = tiny_model(ModelFamily::llama);
  model.vocab_size = vocab_size;
  model.hidden_size = 24;
  model.tied_embeddings = !of_experts;
  if (of_experts) {
    model.moe.num_experts = 4;
    model.moe.experts_per_token = 2;
  }
  return model;
}

inline void read_some(int64_t sample, int64_t length, int64_t vocab, int32_t* inputs, int32_t* following) {
  for (int64_t t = 0; t <= length; ++t) {
    const auto id = static_cast<int32_t>((7 * t * t + 5 * sample + sample * t) % vocab);
    if (t < length) inputs[t] = id;
    if (t > 0) following[t - 1] = id;
  }
}

/// Of the job's global batches.
inline constexpr DistillBatches kBatches{.seq_len = 8, .micro_batch = 2, .global_batch = 8};
inline constexpr int64_t kTeacherVocab = 41, kStudentVocab = 37;

inline DistillBatches batches_of(const DistilledLayout& layout) {
  DistillBatches batches = kBatches;
  if (layout.documents) batches.end_of_text = 3;
  return batches;
}

/// One rank of such a job, while `body` runs: of the student's ranks only.
struct StudentRank {
  Context& ctx;
  TrainingSession& session;
  TeacherSteps& steps;
  StepwiseRun& run;
  std::function<void(int64_t step)> order;  ///< to a teacher on ranks of its own; before a step
};

/// Weights of a teacher in a file.
inline std::string teacher_file(const TemporaryFolder& folder, const ModelConfig& model) {
  const auto self = make_self_communicator();
  Context ctx;
  TrainingSession session(ctx, *self, {}, model, {.max_seq_len = 8, .seed = 11});
  session.save(folder.path("teacher.safetensors"));
  return folder.path("teacher.safetensors");
}

/// Runs `body` on the student's ranks. A teacher on ranks of its own makes the states of one step more than
/// are asked for.
inline void distill_on(const DistilledLayout& layout, const std::string& file, const SessionOptions& options,
                       const std::function<void(StudentRank&)>& body) {
  const ModelConfig teacher = teacher_model(layout.of_experts, kTeacherVocab);
  const DistillBatches batches = batches_of(layout);
  const ReadSample read = [&](int64_t sample, int32_t* inputs, int32_t* following) {
    read_some(sample, batches.seq_len, kStudentVocab, inputs, following);
  };
  run_thread_ranks(layout.ranks, [&](Communicator& job) {
    Context ctx;
    const int first_own = layout.ranks - layout.own;
    const bool is_teachers = layout.own > 0 && job.rank() >= first_own;
    const auto part = job.split(is_teachers ? 1 : 0, job.rank(), is_teachers ? "teacher" : "student");
    const auto source = open_weights(find_weights(file), teacher);
    std::unique_ptr<Communicator> group;
    std::optional<InferenceModel> model;
    std::optional<TeacherRounds> passes;
    if (is_teachers || layout.own == 0) {
      group = part->split(0, part->rank(), "teacher");
      model.emplace(
          ctx, *group, *source, teacher,
          InferenceOptions{.plan = layout.teacher, .max_seq_len = batches.seq_len, .without_head = true});
      passes.emplace(*model, batches, read);
    }
    if (is_teachers) {
      const StateRoutes routes(ctx, job, teacher_place(model->parallel()));
      serve_teacher(ctx, job, *group, routes, *passes, batches);
      return;
    }
    ModelConfig student = tiny_model(ModelFamily::llama);
    student.vocab_size = kStudentVocab;
    TrainingSession session(ctx, *part, layout.student, student, options);
    const StateRoutes routes(
        ctx, job,
        student_place(session.parallel(), passes ? teacher_place(model->parallel()) : StatePlace{}));
    std::optional<TeacherHead> head;
    if (routes.here().student >= 0)
      head.emplace(ctx, TensorParallel(session.parallel()), *source, teacher, kStudentVocab,
                   kStudentVocab - 2, options.precision);
    TeacherSteps steps(job, routes, session.parallel(), passes ? &*passes : nullptr, head ? &*head : nullptr,
                       batches, teacher.hidden_size, DType::f32);
    StepwiseRun run(session,
                    {batches.seq_len, batches.micro_batch, batches.global_batch, batches.end_of_text}, read);
    TeacherOrders orders(job, first_own);
    const bool gives_orders = layout.own > 0 && job.rank() == 0;
    StudentRank rank{ctx, session, steps, run, [&](int64_t step) {
                       const int64_t first = step * batches.global_batch;
                       if (gives_orders) orders.step(first, first + batches.global_batch);
                     }};
    body(rank);
    if (gives_orders) orders.end(ExitCode::ok, "");
  });
}

}  // namespace trireme::test

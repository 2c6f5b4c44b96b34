// The teacher of a run on a rank of its student.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "launch/config/run_config.h"
#include "launch/run/found_teacher.h"
#include "models/distill/few_tokens.h"
#include "models/distill/serve_teacher.h"
#include "models/distill/teacher_files.h"
#include "models/distill/teacher_steps.h"
#include "models/session/training_session.h"
#include "runtime/data/batch_reader.h"

namespace trireme::launch {

class RunTeacher {
 public:
  /// Of a model reads the weights that this rank needs: of layers, where they are on the student's ranks, and
  /// of the head. `job` has all ranks; those of the student make one together (those of the teacher alone:
  /// TeacherRanks). All that is passed in outlives it.
  RunTeacher(Context& ctx, Communicator& job, const RunConfig& config, const FoundTeacher& found,
             const BatchReader& reader, TrainingSession& session);
  RunTeacher(const RunTeacher&) = delete;
  RunTeacher& operator=(const RunTeacher&) = delete;

  /// TeacherSteps::attach(), or the files' rows; of few tokens, where the run asks for these.
  void attach(std::span<MicroBatch> micro_batches);

 private:
  void read_model(Communicator& job, const RunConfig& config, const FoundTeacher& found,
                  const BatchReader& reader);

  Context& ctx_;
  TrainingSession& session_;
  std::shared_ptr<const TeacherFiles> files_;  // null: a model
  std::optional<FewTokensOptions> few_;        // of a model; none: all tokens
  std::unique_ptr<Communicator> group_;        // of the teacher's layers
  std::optional<InferenceModel> model_;
  std::optional<TeacherRounds> rounds_;
  std::optional<TeacherHead> head_;
  std::optional<StateRoutes> routes_;
  std::optional<TeacherSteps> steps_;
};

DistillBatches distill_batches(const RunConfig& config, const BatchReader& reader);
ReadSample read_samples(const BatchReader& reader);

}  // namespace trireme::launch

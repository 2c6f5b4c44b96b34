// A run's teacher as its files describe it, before its weights are read.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "launch/config/run_config.h"
#include "launch/run/training_data.h"
#include "models/config/model_config.h"
#include "models/distill/teacher_files.h"
#include "models/inference/inference_model.h"
#include "runtime/comm/communicator.h"

namespace trireme::launch {

struct FoundTeacher {
  /// Tokens that a teacher has written, and then nothing of a model below; null: it is a model.
  std::shared_ptr<TeacherFiles> tokens = nullptr;
  std::string path;
  ModelConfig model;
  InferenceOptions options;  ///< over `ranks`
  int ranks = 1;             ///< that it has
  int64_t common_vocab = 0;  ///< tokens that teacher and student both have rows for
  double bytes_per_weight = 4;
  std::string tokenizer_note;  ///< what is not known of its tokenizer; empty: it is the data's
};

/// Of the model of config.distill, over ranks of its own or those of the student, `student_ranks`. Reads no
/// weights. UserError naming the options with all that does not fit: sequences that are too long, a layout
/// that does not divide the model. `student_vocab`: 0 where it is not known.
FoundTeacher find_teacher(const RunConfig& config, int student_ranks, int64_t student_vocab);

/// Of written tokens: TeacherFiles::expect() of what is trained on. `data_digest`: known on the first rank.
void expect_samples(FoundTeacher& teacher, const RunConfig& config, const TrainingData& data,
                    const std::string& data_digest);

/// UserError (bad_input) naming both where its tokenizer is not that of the data; on the first rank.
void check_tokenizer(FoundTeacher& teacher, const TrainingData& data);

/// Predicted, of a rank of the student.
TeacherMemory memory_of(const FoundTeacher& teacher, const RunConfig& config);
/// And of a rank of the teacher's own: bytes.
int64_t memory_of_own_rank(const FoundTeacher& teacher, const RunConfig& config);

/// Lines of the banner: the model and its tokens; the layout and its memory.
std::string teacher_text(const FoundTeacher& teacher, const RunConfig& config);

}  // namespace trireme::launch

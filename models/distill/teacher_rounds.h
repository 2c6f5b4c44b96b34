// TeacherRounds: a teacher's last hidden states of micro-batches, on the ranks of its layout.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "models/inference/inference_model.h"

namespace trireme {

/// Writes the inputs of a sample, and the tokens that follow them, by its number alone.
using ReadSample = std::function<void(int64_t sample, int32_t* inputs, int32_t* following)>;

/// The global batches of a training.
struct DistillBatches {
  int64_t seq_len = 0;
  int64_t micro_batch = 0;                  ///< samples of one
  int64_t global_batch = 0;                 ///< samples of a step
  std::optional<int32_t> end_of_text = {};  ///< documents that it ends do not see each other

  int64_t num_micro_batches() const { return global_batch / micro_batch; }
};

class TeacherRounds {
 public:
  /// `model`, made without_head perhaps, outlives it.
  TeacherRounds(InferenceModel& model, const DistillBatches& batches, ReadSample read)
      : model_(model), batches_(batches), read_(std::move(read)) {}

  InferenceModel& model() const { return model_; }
  /// [micro_batch * seq_len, C], behind the final norm, of the whole sequences of the micro-batch that begins
  /// with this sample: on the ranks of the last stage of this rank's replica, undefined on others. All ranks
  /// of the replica call it, and those of other replicas with whom it shares experts.
  Tensor states(Context& ctx, int64_t first_sample) const;
  /// Those of the micro-batch of the global batch from `first_sample` on that is the turn of this rank's
  /// replica in a round, in which each replica runs one. Replicas for whom the last round has none run its
  /// last one too, as they may have experts that others need. All ranks of the teacher call it.
  Tensor states_of_round(Context& ctx, int64_t first_sample, int64_t round) const;

 private:
  InferenceModel& model_;
  DistillBatches batches_;
  ReadSample read_;
};

}  // namespace trireme

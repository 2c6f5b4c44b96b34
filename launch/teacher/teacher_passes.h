// A teacher's passes over the samples of a training, for the few tokens of each row.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "models/distill/few_tokens.h"
#include "models/inference/inference_model.h"
#include "runtime/data/batch_reader.h"

namespace trireme::launch {

class TeacherPasses {
 public:
  /// All outlive it. Samples are those of `reader`, whose documents are kept apart where it says so.
  TeacherPasses(Context& ctx, InferenceModel& model, const BatchReader& reader,
                const FewTokensOptions& options)
      : ctx_(ctx), model_(model), reader_(reader), options_(options) {}

  /// Whether this rank is the one of its replica that gets the tokens.
  bool is_writer() const;

  /// ids and probabilities [seq_len, width] of a sample, as few_tokens() makes them.
  using Take = std::function<void(std::span<const int32_t> ids, std::span<const float> probabilities)>;
  /// Samples [first, first + count) of the order, one after the other to `take` on the writer. All ranks of a
  /// replica call it together, those of other replicas too where they run in lockstep (experts); `counts`
  /// false: a pass of theirs alone, whose tokens nobody takes. Logits of as many rows lie there at once as
  /// LossConfig::rows_at_once() says.
  void run(int64_t first, int64_t count, bool counts, const Take& take);

 private:
  Context& ctx_;
  InferenceModel& model_;
  const BatchReader& reader_;
  FewTokensOptions options_;
};

}  // namespace trireme::launch

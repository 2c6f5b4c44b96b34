// What a Generator keeps.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "models/inference/draw_tokens.h"
#include "models/inference/first_rank.h"
#include "models/inference/generator.h"
#include "models/inference/scheduler.h"

namespace trireme {

struct RunningRequest {
  GenerationRequest wanted;
  Sequence sequence;
  FinishReason finish = FinishReason::none;

  std::span<const int32_t> text() const {
    return std::span<const int32_t>(sequence.tokens).subspan(wanted.prompt.size());
  }
  /// Why the text ends with this token, if it does.
  FinishReason finish_with(int32_t token) const;
};

struct Generator::State {
  State(Context& context, const ParallelContext& parallel, CachedModel& cached,
        const GeneratorOptions& options);

  RunningRequest& at(int64_t request) const;
  void expect(const GenerationRequest& request) const;
  /// The pass over a batch; logits of what is drawn from.
  Tensor pass(std::span<const ScheduledChunk> batch);
  /// Fills the message: on the first rank from the logits and on_token, on the others from there.
  void draw(const Tensor& logits, const OnToken& on_token);
  /// What the message says becomes part of the texts.
  void append();
  void end(RunningRequest& request, FinishReason finish);

  Context& ctx;
  CachedModel& model;
  FirstRank first;
  int64_t vocab_size;
  CacheBlockPool pool;
  Scheduler scheduler;
  std::vector<std::unique_ptr<RunningRequest>> requests;  // by number
  int64_t num_unfinished = 0;
  GenerationCounts counts;

  // Of a pass; kept so that none takes memory for them anew.
  std::vector<SequenceChunk> chunks;
  std::vector<RunningRequest*> drawn;
  std::vector<DrawnSequence> sequences;
  std::vector<int32_t> message;  // of each that is drawn: token, bits of its log probability, finish
};

}  // namespace trireme

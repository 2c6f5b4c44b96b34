#include "models/inference/generator.h"

#include <chrono>
#include <utility>

#include "models/inference/generator_state.h"

namespace trireme {

Generator::Generator(Context& ctx, const ParallelContext& parallel, CachedModel& model,
                     const GeneratorOptions& options)
    : state_(std::make_unique<State>(ctx, parallel, model, options)) {}

Generator::~Generator() = default;

int64_t Generator::add(GenerationRequest request) {
  state_->expect(request);
  auto added = std::make_unique<RunningRequest>();
  added->sequence.number = std::ssize(state_->requests);
  added->sequence.tokens = request.prompt;
  added->wanted = std::move(request);
  state_->scheduler.add(added->sequence);
  ++state_->num_unfinished;
  state_->requests.push_back(std::move(added));
  return std::ssize(state_->requests) - 1;
}

bool Generator::step(const OnToken& on_token) {
  using Clock = std::chrono::steady_clock;
  State& s = *state_;
  const Clock::time_point begin = Clock::now();
  const std::span<const ScheduledChunk> batch = s.scheduler.next();
  if (batch.empty()) return false;
  bool has_prompt = false;
  for (const ScheduledChunk& chunk : batch) has_prompt = has_prompt || !chunk.sequence->is_decoding();
  const Tensor logits = s.pass(batch);
  s.draw(logits, on_token);
  s.append();
  ++s.counts.passes;
  (has_prompt ? s.counts.prompt_seconds : s.counts.decode_seconds) +=
      std::chrono::duration<double>(Clock::now() - begin).count();
  return true;
}

void Generator::cancel(int64_t request) {
  RunningRequest& r = state_->at(request);
  if (r.finish == FinishReason::none) state_->end(r, FinishReason::stopped);
}

std::span<const int32_t> Generator::text(int64_t request) const { return state_->at(request).text(); }
FinishReason Generator::finish(int64_t request) const { return state_->at(request).finish; }
int64_t Generator::num_unfinished() const { return state_->num_unfinished; }

GenerationCounts Generator::counts() const {
  GenerationCounts counts = state_->counts;
  const Scheduler::Counts& of_prompts = state_->scheduler.counts();
  counts.prompt_tokens = of_prompts.prompt_tokens;
  counts.reused_tokens = of_prompts.reused_tokens;
  counts.preemptions = of_prompts.preemptions;
  return counts;
}

}  // namespace trireme

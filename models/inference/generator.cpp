#include "models/inference/generator.h"

#include <chrono>
#include <utility>

#include "models/inference/generator_state.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

class TokenListener final : public GenerationListener {
 public:
  explicit TokenListener(const Generator::OnToken& on_token) : on_token_(on_token) {}
  bool on_token(const GeneratedToken& token) override { return on_token_ && on_token_(token); }

 private:
  const Generator::OnToken& on_token_;
};

}  // namespace

Generator::Generator(Context& ctx, const ParallelContext& parallel, CachedModel& model,
                     const GeneratorOptions& options)
    : state_(std::make_unique<State>(ctx, parallel, model, options)) {}

// Its numbers may mean other texts to the next generator.
Generator::~Generator() {
  for (const auto& [number, request] : state_->requests) {
    if (request->finish == FinishReason::none) state_->drafts.forget(number);
  }
}

int64_t Generator::add(GenerationRequest request) {
  state_->expect(request);
  auto added = std::make_unique<RunningRequest>();
  Sequence& sequence = added->sequence;
  sequence.number = state_->next_number++;
  sequence.priority = request.priority;
  sequence.tokens = std::exchange(request.prompt, {});
  added->prompt_size = sequence.tokens.size();
  if (request.scores_prompt) sequence.scores_end = sequence.num_tokens() - 1;
  if (state_->model.options().exit.confidence > 0)
    sequence.num_shared = static_cast<int64_t>(added->prompt_size);
  added->wanted = std::move(request);
  state_->scheduler.add(sequence);
  ++state_->num_unfinished;
  state_->has_new = true;
  const int64_t number = sequence.number;
  state_->requests.emplace(number, std::move(added));
  return number;
}

int64_t Generator::longest_text() const {
  return state_->scheduler.longest(state_->model.model().max_seq_len());
}

bool Generator::step(const OnToken& on_token) {
  TokenListener listener(on_token);
  return step(listener);
}

bool Generator::step(GenerationListener& listener) {
  using Clock = std::chrono::steady_clock;
  State& s = *state_;
  const Clock::time_point begin = Clock::now();
  s.propose();
  std::span<const ScheduledChunk> batch = s.scheduler.next();
  s.report = {};
  if (batch.empty()) return false;
  const bool is_first = s.first.is_this();
  if (is_first) s.tell_schedule(listener);
  batch = s.write_drafts(batch);
  const Tensor logits = s.pass(batch);
  if (is_first) {
    s.work_out(logits);
    s.tell(listener);
  }
  s.first.share(s.ctx, s.message);
  s.append(batch);
  ++s.counts.passes;
  s.report.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  (s.report.prompt_tokens > 0 ? s.counts.prompt_seconds : s.counts.decode_seconds) += s.report.seconds;
  if (s.report.prompt_tokens == 0) s.drafts.learn(s.report.sequences, s.report.seconds);
  return true;
}

void Generator::cancel(int64_t request) {
  RunningRequest& r = state_->at(request);
  if (r.finish == FinishReason::none) state_->end(r, FinishReason::stopped);
}

void Generator::release(int64_t request) {
  TRIREME_CHECK(state_->at(request).finish != FinishReason::none, "request {} is released before its end",
                request);
  state_->requests.erase(request);
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

void Generator::limit_prompts(int64_t num_tokens) { state_->scheduler.limit_prompts(num_tokens); }

PassReport Generator::last_pass() const {
  PassReport report = state_->report;
  report.running = std::ssize(state_->scheduler.running());
  report.waiting = state_->scheduler.num_waiting();
  report.num_blocks = state_->pool.num_blocks();
  report.used_blocks = report.num_blocks - state_->pool.num_available();
  return report;
}

}  // namespace trireme

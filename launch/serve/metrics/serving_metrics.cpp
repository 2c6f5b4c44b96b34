#include "launch/serve/metrics/serving_metrics.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <string_view>
#include <utility>

#include "launch/serve/metrics/energy_meter.h"
#include "launch/serve/metrics/served_counts.h"
#include "launch/serve/metrics/status_text.h"

namespace trireme::launch {

namespace {

using MetricsClock = std::chrono::steady_clock;

constexpr std::string_view kPaths[] = {"/v1/models", "/v1/completions", "/v1/chat/completions",
                                       "/tokenize",  "/detokenize",     "/tokenizer_info",
                                       "/health",    "/metrics",        "/version"};
constexpr std::string_view kMethods[] = {"GET", "POST", "HEAD", "OPTIONS"};

/// Clients choose the words, and each would be a series for ever.
template <size_t kNum>
std::string known(const std::string& word, const std::string_view (&words)[kNum]) {
  return std::ranges::find(words, word) != std::end(words) ? word : "other";
}

void observe_text(ServedCounts& c, const TextTimes& t) {
  const auto finish = c.ended.find(t.finish);
  ++(finish != c.ended.end() ? finish->second : c.ended["error"]);
  c.prompt_tokens.observe(static_cast<double>(t.prompt_tokens));
  c.generated_tokens.observe(static_cast<double>(t.generated_tokens));
  if (t.max_tokens > 0) c.max_tokens.observe(static_cast<double>(t.max_tokens));
  const auto observe = [](Histogram& histogram, double from, double to) {
    if (from > 0 && to > 0) histogram.observe(std::max(0.0, to - from));
  };
  observe(c.first_token, t.arrived, t.first_token);
  observe(c.total, t.arrived, t.ended);
  observe(c.queued, t.arrived, t.begun);
  observe(c.prefill, t.begun, t.first_token);
  observe(c.decode, t.first_token, t.ended);
  observe(c.inference, t.begun, t.ended);
  if (t.generated_tokens > 1 && t.first_token > 0 && t.ended > 0)
    c.time_per_token.observe(std::max(0.0, t.ended - t.first_token) /
                             static_cast<double>(t.generated_tokens - 1));
}

}  // namespace

struct ServingMetrics::State {
  State(std::string name, const std::string& powercap) : model_name(std::move(name)), energy(powercap) {}

  /// Counters of energy wrap around: they are looked at now and then, whether somebody asks or not.
  std::optional<double> joules_now() {
    const std::lock_guard lock(energy_mutex);
    energy_read = MetricsClock::now();
    return energy.joules();
  }
  void look_at_energy() {
    constexpr auto kOften = std::chrono::seconds(20);
    std::unique_lock lock(energy_mutex, std::try_to_lock);
    if (!lock || MetricsClock::now() - energy_read < kOften) return;
    energy_read = MetricsClock::now();
    energy.joules();
  }

  const std::string model_name;

  std::mutex mutex;
  ServedCounts counts;  // by mutex, like what the last line of status has seen
  GenerationCounts seen;
  int64_t read_tokens = 0;  // of prompts, since the last line
  int64_t seen_refused = 0;
  std::optional<double> seen_joules;
  MetricsClock::time_point seen_at = MetricsClock::now();

  std::mutex energy_mutex;  // reading files takes long: apart
  EnergyMeter energy;
  MetricsClock::time_point energy_read = MetricsClock::now();
};

ServingMetrics::ServingMetrics(const std::string& model_name, const std::string& powercap)
    : state_(std::make_unique<State>(model_name, powercap)) {}
ServingMetrics::~ServingMetrics() = default;

void ServingMetrics::pass(const PassReport& pass, const GenerationCounts& counts) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->counts.generation = counts;
    state_->read_tokens += pass.prompt_tokens;
    state_->counts.pass_tokens.observe(static_cast<double>(pass.prompt_tokens + pass.decoded_tokens));
  }
  state_->look_at_energy();
}

void ServingMetrics::token() {
  const std::lock_guard lock(state_->mutex);
  ++state_->counts.generation.decoded_tokens;
}

void ServingMetrics::token_gap(double seconds) {
  const std::lock_guard lock(state_->mutex);
  state_->counts.token_gap.observe(seconds);
}

void ServingMetrics::text_ended(const TextTimes& times) {
  const std::lock_guard lock(state_->mutex);
  observe_text(state_->counts, times);
}

void ServingMetrics::refused() {
  const std::lock_guard lock(state_->mutex);
  ++state_->counts.refused;
}

void ServingMetrics::answered(const std::string& method, const std::string& path, int status) {
  AnswerKind kind{known(method, kMethods), known(path, kPaths), status};
  const std::lock_guard lock(state_->mutex);
  ++state_->counts.answers[std::move(kind)];
}

std::string ServingMetrics::prometheus(const EngineState& state) const {
  const std::optional<double> joules = state_->joules_now();
  std::unique_lock lock(state_->mutex);
  const ServedCounts counts = state_->counts;
  lock.unlock();
  return metrics_page(counts, state, state_->model_name, joules, process_facts());
}

std::string ServingMetrics::status_line(const EngineState& state) {
  const std::optional<double> joules = state_->joules_now();
  StatusInterval interval;
  interval.running = state.running;
  interval.waiting = state.waiting;
  if (state.num_blocks > 0)
    interval.cache_share = static_cast<double>(state.used_blocks) / static_cast<double>(state.num_blocks);
  const std::lock_guard lock(state_->mutex);
  const MetricsClock::time_point now = MetricsClock::now();
  const GenerationCounts& is = state_->counts.generation;
  const GenerationCounts& was = state_->seen;
  interval.seconds = std::chrono::duration<double>(now - state_->seen_at).count();
  interval.read_tokens = std::exchange(state_->read_tokens, 0);
  interval.prompt_tokens = is.prompt_tokens - was.prompt_tokens;
  interval.reused_tokens = is.reused_tokens - was.reused_tokens;
  interval.generated_tokens = is.decoded_tokens - was.decoded_tokens;
  interval.drafted_tokens = is.drafted_tokens - was.drafted_tokens;
  interval.accepted_tokens = is.accepted_tokens - was.accepted_tokens;
  interval.exit_tokens = is.exit_rows - was.exit_rows;
  interval.exit_layers = is.exit_blocks - was.exit_blocks;
  interval.preemptions = is.preemptions - was.preemptions;
  interval.refused = state_->counts.refused - state_->seen_refused;
  if (joules) interval.joules = *joules - state_->seen_joules.value_or(0);
  state_->seen = is;
  state_->seen_refused = state_->counts.refused;
  state_->seen_joules = joules;
  state_->seen_at = now;
  return status_text(interval);
}

}  // namespace trireme::launch

#include "launch/serve/metrics/prometheus_text.h"
#include "launch/serve/metrics/served_counts.h"

namespace trireme::launch {

namespace {

constexpr double kFirstTokenSeconds[] = {0.001, 0.005, 0.01, 0.02,  0.04,  0.06,  0.08, 0.1,
                                         0.25,  0.5,   0.75, 1.0,   2.5,   5.0,   7.5,  10.0,
                                         20.0,  40.0,  80.0, 160.0, 640.0, 2560.0};
constexpr double kTokenSeconds[] = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,  0.3,  0.4, 0.5,
                                    0.75, 1.0,   2.5,  5.0,   7.5, 10.0, 20.0, 40.0, 80.0};
constexpr double kTextSeconds[] = {0.3,  0.5,  0.8,  1.0,  1.5,   2.0,   2.5,   5.0,   10.0,   15.0,  20.0,
                                   30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};
constexpr double kPassTokens[] = {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
/// 1, 2 and 5 in every power of ten, of which the page has those up to the longest sequence.
constexpr double kTokens[] = {1,   2,   5,   10,  20,  50,  100, 200, 500, 1e3, 2e3, 5e3,
                              1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 2e7, 5e7};

class MetricsPage {
 public:
  MetricsPage(const ServedCounts& counts, const EngineState& state, const std::string& model_name)
      : c_(counts), state_(state), labels_{{"engine", "0"}, {"model_name", model_name}} {}

  std::string text() const { return page_.text(); }

  void engine() {
    gauge("vllm:num_requests_running", "Texts that take part in passes of the model.", state_.running);
    gauge("vllm:num_requests_waiting", "Texts that wait to begin.", state_.waiting);
    const double blocks = static_cast<double>(state_.num_blocks);
    gauge("vllm:kv_cache_usage_perc", "Part of the cache's blocks that texts hold, from 0 to 1.",
          blocks > 0 ? static_cast<double>(state_.used_blocks) / blocks : 0.0);
    page_.metric("vllm:cache_config_info", "gauge", "Size of the cache of keys and values, in its labels.");
    page_.sample({{"block_size", std::to_string(state_.block_tokens)},
                  {"engine", "0"},
                  {"num_gpu_blocks", std::to_string(state_.num_blocks)}},
                 1);
    gauge("trireme:cache_blocks_used", "Blocks of the cache that texts hold.", state_.used_blocks);
    gauge("trireme:cache_blocks", "Blocks of the cache.", state_.num_blocks);
    gauge("trireme:ready", "1: the model answers; 0: it is stuck, has failed, or stops.", state_.is_ready);
  }

  void tokens() {
    const GenerationCounts& g = c_.generation;
    counter("vllm:prefix_cache_queries_total", "Tokens of prompts that were looked for in the cache.",
            g.prompt_tokens);
    counter("vllm:prefix_cache_hits_total", "Tokens of prompts that were found in the cache.",
            g.reused_tokens);
    counter("vllm:num_preemptions_total", "Texts that gave their blocks back and began again.",
            g.preemptions);
    counter("vllm:prompt_tokens_total", "Tokens of prompts that have begun.", g.prompt_tokens);
    counter("vllm:generation_tokens_total", "Tokens that were generated.", g.decoded_tokens);
    counter("vllm:spec_decode_num_draft_tokens_total", "Tokens that drafts proposed.", g.drafted_tokens);
    counter("vllm:spec_decode_num_accepted_tokens_total", "Tokens of drafts that were drawn as well.",
            g.accepted_tokens);
    counter("trireme:passes_total", "Passes of the model.", g.passes);
    counter("trireme:exit_tokens_total", "Tokens of texts that could leave at an exit.", g.exit_rows);
    counter("trireme:exit_layers_total", "Layers that these tokens went through.", g.exit_blocks);
    histogram("vllm:iteration_tokens_total", "Tokens of a pass.", c_.pass_tokens);
  }

  void texts() {
    page_.metric("vllm:request_success_total", "counter", "Texts that have ended, by the reason.");
    for (const auto& [reason, count] : c_.ended) {
      PrometheusText::Labels labels = labels_;
      labels.emplace_back("finished_reason", reason);
      page_.sample(labels, static_cast<double>(count));
    }
    const auto longest = static_cast<double>(state_.max_seq_len > 0 ? state_.max_seq_len : INT64_MAX);
    histogram("vllm:request_prompt_tokens", "Tokens of a prompt.", c_.prompt_tokens, longest);
    histogram("vllm:request_generation_tokens", "Tokens of a text.", c_.generated_tokens, longest);
    histogram("vllm:request_max_num_generation_tokens", "Tokens of a request's longest text.",
              c_.generated_tokens, longest);
    histogram("vllm:request_params_max_tokens", "Tokens that were asked for at most.", c_.max_tokens,
              longest);
  }

  void times() {
    histogram("vllm:time_to_first_token_seconds", "From arrival to the first token.", c_.first_token);
    histogram("vllm:inter_token_latency_seconds", "Between two tokens of a text.", c_.token_gap);
    histogram("vllm:time_per_output_token_seconds",
              "Between two tokens of a text; the earlier name of vllm:inter_token_latency_seconds.",
              c_.token_gap);
    histogram("vllm:request_time_per_output_token_seconds", "Mean time between two tokens, a value a text.",
              c_.time_per_token);
    histogram("vllm:e2e_request_latency_seconds", "From arrival to the last token.", c_.total);
    histogram("vllm:request_queue_time_seconds", "From arrival to the first pass.", c_.queued);
    histogram("vllm:request_prefill_time_seconds", "From the first pass to the first token.", c_.prefill);
    histogram("vllm:request_decode_time_seconds", "From the first token to the last.", c_.decode);
    histogram("vllm:request_inference_time_seconds", "From the first pass to the last token.", c_.inference);
  }

  void server() {
    counter("trireme:refused_total", "Requests that were refused since too many waited.", c_.refused);
    page_.metric("trireme:http_requests_total", "counter", "Answers, by method, path and status.");
    for (const auto& [kind, count] : c_.answers) {
      page_.sample({{"method", std::get<0>(kind)},
                    {"path", std::get<1>(kind)},
                    {"status", std::to_string(std::get<2>(kind))}},
                   static_cast<double>(count));
    }
  }

  void machine(const std::optional<double>& joules, const std::optional<ProcessFacts>& process) {
    if (joules) {
      page_.metric("trireme:joules_total", "counter",
                   "Energy since the start of all processor packages, and of memory that is counted apart, "
                   "of this host, whoever used it.");
      page_.sample({}, *joules);
    }
    if (!process) return;
    page_.metric("process_resident_memory_bytes", "gauge", "Memory of the process that is resident.");
    page_.sample({}, process->resident_bytes);
    page_.metric("process_start_time_seconds", "gauge", "When the process started, in seconds since 1970.");
    page_.sample({}, process->start_time);
    page_.metric("process_cpu_seconds_total", "counter", "Processor time of the process.");
    page_.sample({}, process->cpu_seconds);
  }

 private:
  template <class T>
  void gauge(std::string_view name, std::string_view help, T value) {
    page_.metric(name, "gauge", help);
    page_.sample(labels_, static_cast<double>(value));
  }
  void counter(std::string_view name, std::string_view help, int64_t value) {
    page_.metric(name, "counter", help);
    page_.sample(labels_, static_cast<double>(value));
  }
  void histogram(std::string_view name, std::string_view help, const Histogram& values,
                 double largest_bound = std::numeric_limits<double>::infinity()) {
    page_.metric(name, "histogram", help);
    page_.sample(labels_, values, largest_bound);
  }

  const ServedCounts& c_;
  const EngineState& state_;
  PrometheusText::Labels labels_;
  PrometheusText page_;
};

}  // namespace

ServedCounts::ServedCounts()
    : ended{{"abort", 0}, {"error", 0}, {"length", 0}, {"stop", 0}},
      first_token(kFirstTokenSeconds),
      token_gap(kTokenSeconds),
      time_per_token(kTokenSeconds),
      total(kTextSeconds),
      queued(kTextSeconds),
      prefill(kTextSeconds),
      decode(kTextSeconds),
      inference(kTextSeconds),
      prompt_tokens(kTokens),
      generated_tokens(kTokens),
      max_tokens(kTokens),
      pass_tokens(kPassTokens) {}

std::string metrics_page(const ServedCounts& counts, const EngineState& state, const std::string& model_name,
                         const std::optional<double>& joules, const std::optional<ProcessFacts>& process) {
  MetricsPage page(counts, state, model_name);
  page.engine();
  page.tokens();
  page.texts();
  page.times();
  page.server();
  page.machine(joules, process);
  return page.text();
}

}  // namespace trireme::launch

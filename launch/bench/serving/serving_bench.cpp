#include "launch/bench/serving/serving_bench.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/bench/serving/load_run.h"
#include "launch/bench/serving/serving_tables.h"
#include "launch/bench/serving/summary.h"
#include "runtime/base/error.h"
#include "runtime/base/philox.h"

namespace trireme::launch {

namespace {

constexpr uint64_t kTimesStream = ~uint64_t{0} - 1;
constexpr int64_t kLowPriority = 10;
constexpr int64_t kEventsBeforeLongPrompt = 16;
constexpr double kSecondsOfRate = 30;

class BenchRun {
 public:
  BenchRun(const ServingBench& bench, std::FILE* out) : b_(bench), out_(out) {}

  nlohmann::ordered_json run() {
    print_bench_head(out_, b_);
    json_ = bench_json(b_);
    warm_up();
    if (b_.long_prompt > 0) {
      long_prompt();
    } else {
      points();
    }
    json_["failed"] = failed_;
    return std::move(json_);
  }

 private:
  PlannedRequest request(int64_t prompt_tokens, int64_t priority = 0) {
    return {completion_body(b_, next_prompt_++, prompt_tokens, priority), b_.max_tokens, priority};
  }

  LoadPlan closed_plan(int64_t clients, int64_t requests) {
    LoadPlan plan{{}, clients, b_.timeout};
    for (int64_t i = 0; i < requests; ++i) plan.requests.push_back(request(b_.prompt.tokens));
    return plan;
  }

  /// Poisson: gaps are exponentially distributed.
  LoadPlan open_plan(double rate, int64_t requests, bool has_priorities) {
    LoadPlan plan{{}, 0, b_.timeout};
    double at = 0;
    for (int64_t i = 0; i < requests; ++i) {
      const auto number = static_cast<uint64_t>(i);
      const bool is_low = has_priorities && i % 2 == 1;
      PlannedRequest planned = request(b_.prompt.tokens, is_low ? kLowPriority : 0);
      at -= std::log(
                static_cast<double>(uniform_from_bits(philox4x32(b_.prompt.seed, number, kTimesStream)[0]))) /
            rate;
      planned.at = at;
      plan.requests.push_back(std::move(planned));
    }
    return plan;
  }

  int64_t requests_at(double rate) const {
    return b_.requests > 0 ? b_.requests : std::max<int64_t>(16, std::llround(kSecondsOfRate * rate));
  }

  void warm_up() {
    const LoadResult result = run_load(b_.endpoint, closed_plan(1, b_.warmup));
    for (const RequestRecord& record : result.records) {
      if (!record.is_good()) throw_environment("{}/v1/completions: {}", b_.endpoint.url(), record.error);
    }
  }

  void points() {
    print_points_head(out_);
    LoadSummary best;
    const auto add = [&](const std::string& load, const LoadPlan& plan) {
      const LoadSummary s = summarize(run_load(b_.endpoint, plan));
      failed_ += s.requests - s.good;
      print_point(out_, load, s);
      json_["points"].push_back(point_json(load, s));
      if (s.output_rate > best.output_rate) best = s;
    };
    for (const double rate : b_.rates)
      add(fmt::format("{:g}/s", rate), open_plan(rate, requests_at(rate), false));
    for (const int64_t clients : b_.rates.empty() ? b_.clients : std::vector<int64_t>())
      add(std::to_string(clients),
          closed_plan(clients, b_.requests > 0 ? b_.requests : std::max<int64_t>(8, 4 * clients)));
    print_notes(out_, json_);
    if (b_.overload > 0) overload(best);
  }

  void long_prompt() {
    LoadPlan plan = closed_plan(0, b_.clients.front());
    plan.requests.push_back(request(b_.long_prompt));
    plan.requests.back().after_events = kEventsBeforeLongPrompt;
    const LoadResult result = run_load(b_.endpoint, plan);
    for (const RequestRecord& record : result.records) {
      if (record.is_good()) continue;
      ++failed_;
      fmt::print(out_, "{}: {}\n",
                 record.planned + 1 == plan.requests.size() ? "the long prompt" : "a stream", record.error);
    }
    if (result.records.back().first_token() < 0) return;  // there is no time to look at the streams in
    const LongPromptSummary s = summarize_long_prompt(result);
    print_long_prompt(out_, s);
    json_["long_prompt"] = long_prompt_json(s);
  }

  void overload(const LoadSummary& best) {
    if (best.request_rate <= 0)
      throw_environment("{}: no request was answered, so there is no load to exceed", b_.endpoint.url());
    const double rate = b_.overload * best.request_rate;
    const LoadPlan plan = open_plan(rate, requests_at(rate), true);
    const OverloadSummary s = summarize_overload(run_load(b_.endpoint, plan), plan);
    for (const auto& [priority, p] : s.priorities) failed_ += p.failed;
    print_overload(out_, s, best);
    json_["overload"] = overload_json(s, best);
  }

  const ServingBench& b_;
  std::FILE* out_;
  nlohmann::ordered_json json_;
  uint64_t next_prompt_ = 0;
  int64_t failed_ = 0;
};

}  // namespace

std::string completion_body(const ServingBench& bench, uint64_t index, int64_t prompt_tokens,
                            int64_t priority) {
  std::string body = fmt::format(
      R"({{"model":{},"prompt":{},"max_tokens":{},"temperature":0,"ignore_eos":true,"stream":true,)"
      R"("stream_options":{{"include_usage":true}})",
      nlohmann::ordered_json(bench.model).dump(), prompt_json(bench.prompt, index, prompt_tokens),
      bench.max_tokens);
  if (priority != 0) body += fmt::format(R"(,"priority":{})", priority);
  return body + "}";
}

nlohmann::ordered_json run_serving_bench(const ServingBench& bench, std::FILE* out) {
  return BenchRun(bench, out).run();
}

}  // namespace trireme::launch

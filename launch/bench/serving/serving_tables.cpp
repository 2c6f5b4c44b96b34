#include "launch/bench/serving/serving_tables.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trireme::launch {

namespace {

using Json = nlohmann::ordered_json;

Json spread_json(const TimeSpread& spread) {
  return {{"median", spread.median}, {"p99", spread.p99}, {"largest", spread.largest}};
}

/// Milliseconds in at most seven characters.
std::string ms(double seconds) {
  return seconds < 1 ? fmt::format("{:.1f}", 1e3 * seconds) : fmt::format("{:.0f}", 1e3 * seconds);
}

}  // namespace

void print_bench_head(std::FILE* out, const ServingBench& b) {
  fmt::print(out, "# {}, model {}\n# prompts of {} {}{}, {} tokens of text; times in ms\n", b.endpoint.url(),
             b.model, b.prompt.tokens, b.prompt.are_ids ? "token ids" : "words",
             b.prompt.shared_prefix > 0 ? fmt::format(" ({} alike)", b.prompt.shared_prefix) : "",
             b.max_tokens);
}

void print_points_head(std::FILE* out) {
  fmt::print(out, "{:>8} {:>8} {:>6} {:>9} {:>10} {:>10} | {:>8} {:>8} | {:>7} {:>7} {:>8}\n", "clients",
             "requests", "failed", "requests", "text", "all", "first", "token", "gap", "", "");
  fmt::print(out, "{:>8} {:>8} {:>6} {:>9} {:>10} {:>10} | {:>8} {:>8} | {:>7} {:>7} {:>8}\n", "or rate", "",
             "", "/s", "tokens/s", "tokens/s", "median", "p99", "median", "p99", "largest");
}

void print_point(std::FILE* out, const std::string& load, const LoadSummary& s) {
  fmt::print(out, "{:>8} {:>8} {:>6} {:>9.2f} {:>10.1f} {:>10.1f} | {:>8} {:>8} | {:>7} {:>7} {:>8}\n", load,
             s.requests, s.requests - s.good, s.request_rate, s.output_rate, s.total_rate,
             ms(s.first_token.median), ms(s.first_token.p99), ms(s.gap.median), ms(s.gap.p99),
             ms(s.gap.largest));
  std::fflush(out);
}

void print_notes(std::FILE* out, const Json& bench) {
  for (const Json& point : bench.at("points")) {
    const auto load = point.at("load").get<std::string>();
    for (const auto& [words, count] : point.at("errors").items())
      fmt::print(out, "{}: {} failed: {}\n", load, count.get<int64_t>(), words);
    if (point.at("early_ends") > 0)
      fmt::print(out, "{}: {} texts ended before their length: the server does not take ignore_eos\n", load,
                 point.at("early_ends").get<int64_t>());
    if (point.at("without_usage") > 0)
      fmt::print(out, "{}: {} answers had no usage: their tokens are counted by events\n", load,
                 point.at("without_usage").get<int64_t>());
    if (point.at("client_share") > 0.25)
      fmt::print(out, "{}: this client used {:.0f} % of a core, which the server may have missed\n", load,
                 100 * point.at("client_share").get<double>());
  }
}

void print_long_prompt(std::FILE* out, const LongPromptSummary& s) {
  fmt::print(out, "long prompt  {} tokens, first token after {} ms\n", s.prompt_tokens, ms(s.first_token));
  fmt::print(out, "streams      {}; {} still ran when it came\n", s.streams, s.still_running);
  fmt::print(out, "gaps         before: median {}, largest {}; meanwhile: median {}, p99 {}, largest {}\n",
             ms(s.before.median), ms(s.before.largest), ms(s.during.median), ms(s.during.p99),
             ms(s.during.largest));
  fmt::print(out, "largest gap  {}, of a stream whose median is {}: twice that and one step are {}: {}\n",
             ms(s.largest), ms(s.median), ms(s.bound()), s.largest <= s.bound() ? "kept" : "exceeded");
  if (s.still_running < s.streams)
    fmt::print(out, "some streams had ended before: a larger --max-tokens would show more\n");
}

void print_overload(std::FILE* out, const OverloadSummary& s, const LoadSummary& best) {
  fmt::print(out,
             "overload     {:.2f} requests/s offered, {:.1f}x of what it bore; text {:.1f} tokens/s, {:.0f} "
             "% of {:.1f}\n",
             s.offered_rate, s.offered_rate / best.request_rate, s.output_rate,
             100 * s.output_rate / best.output_rate, best.output_rate);
  for (const auto& [priority, p] : s.priorities) {
    fmt::print(out,
               "priority {:<3} {} requests, {} answered, {} refused (429), {} failed; first token: median "
               "{}, p99 {}, "
               "largest {}; end: median {}, largest {}\n",
               priority, p.requests, p.good, p.refused, p.failed, ms(p.first_token.median),
               ms(p.first_token.p99), ms(p.first_token.largest), ms(p.whole.median), ms(p.whole.largest));
  }
}

Json bench_json(const ServingBench& b) {
  return {{"url", b.endpoint.url()},
          {"model", b.model},
          {"prompt_tokens", b.prompt.tokens},
          {"shared_prefix", b.prompt.shared_prefix},
          {"prompts_are_ids", b.prompt.are_ids},
          {"max_tokens", b.max_tokens},
          {"seed", b.prompt.seed},
          {"points", Json::array()}};
}

Json point_json(const std::string& load, const LoadSummary& s) {
  return {{"load", load},
          {"requests", s.requests},
          {"good", s.good},
          {"errors", Json(s.errors)},
          {"early_ends", s.early_ends},
          {"without_usage", s.without_usage},
          {"seconds", s.seconds},
          {"requests_per_second", s.request_rate},
          {"output_tokens_per_second", s.output_rate},
          {"total_tokens_per_second", s.total_rate},
          {"mean_prompt_tokens", s.prompt_tokens},
          {"first_token_seconds", spread_json(s.first_token)},
          {"gap_seconds", spread_json(s.gap)},
          {"request_seconds", spread_json(s.whole)},
          {"client_share", s.client_share}};
}

Json long_prompt_json(const LongPromptSummary& s) {
  return {{"prompt_tokens", s.prompt_tokens},
          {"first_token_seconds", s.first_token},
          {"streams", s.streams},
          {"streams_throughout", s.still_running},
          {"gap_before_seconds", spread_json(s.before)},
          {"gap_meanwhile_seconds", spread_json(s.during)},
          {"largest_gap_seconds", s.largest},
          {"its_median_seconds", s.median},
          {"bound_seconds", s.bound()}};
}

Json overload_json(const OverloadSummary& s, const LoadSummary& best) {
  Json priorities = Json::array();
  for (const auto& [priority, p] : s.priorities) {
    priorities.push_back({{"priority", priority},
                          {"requests", p.requests},
                          {"good", p.good},
                          {"refused", p.refused},
                          {"failed", p.failed},
                          {"first_token_seconds", spread_json(p.first_token)},
                          {"request_seconds", spread_json(p.whole)}});
  }
  return {
      {"best_output_tokens_per_second", best.output_rate}, {"best_requests_per_second", best.request_rate},
      {"offered_requests_per_second", s.offered_rate},     {"output_tokens_per_second", s.output_rate},
      {"share_of_best", s.output_rate / best.output_rate}, {"priorities", priorities}};
}

}  // namespace trireme::launch

#include "launch/bench/serving/summary.h"

#include <algorithm>
#include <cmath>

namespace trireme::launch {

namespace {

double nearest_rank(const std::vector<double>& sorted, double share) {
  const double rank = std::ceil(share * static_cast<double>(sorted.size()));
  return sorted[static_cast<size_t>(std::max(1.0, rank)) - 1];
}

double waited(const RequestRecord& record) { return record.first_token() - record.due; }

/// "HTTP 429" of "HTTP 429: too many wait".
std::string kind_of_error(const RequestRecord& record) {
  return record.error.starts_with("HTTP ") ? record.error.substr(0, record.error.find(':')) : record.error;
}

void append(std::vector<double>& to, const std::vector<double>& values) {
  to.insert(to.end(), values.begin(), values.end());
}

}  // namespace

TimeSpread spread_of_times(std::vector<double> times) {
  if (times.empty()) return {};
  std::ranges::sort(times);
  return {nearest_rank(times, 0.5), nearest_rank(times, 0.99), times.back()};
}

std::vector<double> gaps_of(const RequestRecord& record) {
  std::vector<double> gaps;
  for (size_t i = 1; i < record.events.size(); ++i) gaps.push_back(record.events[i] - record.events[i - 1]);
  return gaps;
}

LoadSummary summarize(const LoadResult& result) {
  LoadSummary s;
  std::vector<double> first, gaps, whole;
  double prompts = 0, tokens = 0;
  for (const RequestRecord& r : result.records) {
    ++s.requests;
    if (!r.is_good()) {
      ++s.errors[kind_of_error(r)];
      continue;
    }
    ++s.good;
    if (r.finish != "length") ++s.early_ends;
    if (r.tokens < 0) ++s.without_usage;
    tokens += static_cast<double>(r.num_tokens());
    prompts += static_cast<double>(std::max<int64_t>(0, r.prompt_tokens));
    if (!r.events.empty()) first.push_back(waited(r));
    append(gaps, gaps_of(r));
    whole.push_back(r.ended - r.due);
  }
  s.seconds = result.seconds;
  if (s.seconds > 0) {
    s.client_share = result.client_cpu_seconds / s.seconds;
    s.output_rate = tokens / s.seconds;
    s.total_rate = (tokens + prompts) / s.seconds;
    s.request_rate = static_cast<double>(s.good) / s.seconds;
  }
  if (s.good > 0) s.prompt_tokens = prompts / static_cast<double>(s.good);
  s.first_token = spread_of_times(std::move(first));
  s.gap = spread_of_times(std::move(gaps));
  s.whole = spread_of_times(std::move(whole));
  return s;
}

LongPromptSummary summarize_long_prompt(const LoadResult& result) {
  LongPromptSummary s;
  const RequestRecord& late = result.records.back();
  s.first_token = late.first_token() - late.sent;
  s.prompt_tokens = late.prompt_tokens;
  std::vector<double> before, during;
  for (size_t i = 0; i + 1 < result.records.size(); ++i) {
    const RequestRecord& r = result.records[i];
    if (!r.is_good()) continue;
    ++s.streams;
    if (!r.events.empty() && r.events.back() > late.first_token()) ++s.still_running;
    const std::vector<double> gaps = gaps_of(r);
    double largest = 0;
    for (size_t g = 0; g < gaps.size(); ++g) {
      const double begun = r.events[g], ended = r.events[g + 1];
      if (ended < late.sent) before.push_back(gaps[g]);
      if (ended < late.sent || begun > late.first_token()) continue;
      during.push_back(gaps[g]);
      largest = std::max(largest, gaps[g]);
    }
    if (largest <= s.largest) continue;
    s.largest = largest;
    s.median = spread_of_times(gaps).median;
  }
  s.before = spread_of_times(std::move(before));
  s.during = spread_of_times(std::move(during));
  return s;
}

OverloadSummary summarize_overload(const LoadResult& result, const LoadPlan& plan) {
  OverloadSummary s;
  const double last = plan.requests.empty() ? 0 : plan.requests.back().at, first = last / 5;
  double tokens = 0;
  std::map<int64_t, std::vector<double>> waits, wholes;
  for (const RequestRecord& r : result.records) {
    const int64_t priority = plan.requests[r.planned].priority;
    PrioritySummary& p = s.priorities[priority];
    ++p.requests;
    ++(r.is_good() ? p.good : r.status == 429 ? p.refused : p.failed);
    const auto within = std::ranges::count_if(r.events, [&](double at) { return at >= first && at < last; });
    // An event may carry several tokens.
    if (within > 0)
      tokens += static_cast<double>(within * std::max<int64_t>(1, r.num_tokens())) /
                static_cast<double>(r.events.size());
    if (!r.is_good()) continue;
    if (!r.events.empty()) waits[priority].push_back(waited(r));
    wholes[priority].push_back(r.ended - r.due);
  }
  if (last > 0) {
    s.offered_rate = static_cast<double>(plan.requests.size()) / last;
    s.output_rate = tokens / (last - first);
  }
  for (auto& [priority, p] : s.priorities) {
    p.first_token = spread_of_times(std::move(waits[priority]));
    p.whole = spread_of_times(std::move(wholes[priority]));
  }
  return s;
}

}  // namespace trireme::launch

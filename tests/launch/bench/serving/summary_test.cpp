#include "launch/bench/serving/summary.h"

#include <gtest/gtest.h>

namespace trireme::launch {

namespace {

RequestRecord good(double sent, std::vector<double> events, int64_t tokens) {
  RequestRecord record;
  record.due = record.sent = sent;
  record.ended = events.back();
  record.events = std::move(events);
  record.status = 200;
  record.finish = "length";
  record.tokens = tokens;
  record.prompt_tokens = 10;
  return record;
}

RequestRecord bad(int status, const std::string& error) {
  RequestRecord record;
  record.status = status;
  record.error = error;
  return record;
}

TEST(ServingSummary, NearestRanks) {
  std::vector<double> times;
  for (int i = 200; i >= 1; --i) times.push_back(i);
  const TimeSpread spread = spread_of_times(times);
  EXPECT_EQ(spread.median, 100);
  EXPECT_EQ(spread.p99, 198);
  EXPECT_EQ(spread.largest, 200);
  EXPECT_EQ(spread_of_times({}).largest, 0);
  EXPECT_EQ(spread_of_times({3}).median, 3);
}

TEST(ServingSummary, RatesCountGoodRequests) {
  LoadResult result;
  result.records = {good(1, {2, 2.5, 4}, 3), good(1, {4, 4.5}, 6), bad(429, "HTTP 429: too many 1"),
                    bad(429, "HTTP 429: too many 2"), bad(200, "the stream ended without [DONE]")};
  result.records[1].finish = "stop";
  result.records[2].events = {1, 2, 3};
  result.seconds = 10;
  result.client_cpu_seconds = 1;
  const LoadSummary s = summarize(result);
  EXPECT_EQ(s.requests, 5);
  EXPECT_EQ(s.good, 2);
  EXPECT_EQ(s.errors.at("HTTP 429"), 2);
  EXPECT_EQ(s.errors.at("the stream ended without [DONE]"), 1);
  EXPECT_EQ(s.early_ends, 1);
  EXPECT_DOUBLE_EQ(s.output_rate, 0.9);
  EXPECT_DOUBLE_EQ(s.total_rate, 2.9);
  EXPECT_DOUBLE_EQ(s.request_rate, 0.2);
  EXPECT_DOUBLE_EQ(s.client_share, 0.1);
  EXPECT_DOUBLE_EQ(s.prompt_tokens, 10);
  EXPECT_DOUBLE_EQ(s.first_token.median, 1);
  EXPECT_DOUBLE_EQ(s.first_token.largest, 3);
  EXPECT_DOUBLE_EQ(s.gap.median, 0.5);
  EXPECT_DOUBLE_EQ(s.gap.largest, 1.5);
  EXPECT_EQ(summarize({}).output_rate, 0);
}

TEST(ServingSummary, GapsWhileALongPromptArrives) {
  LoadResult result;
  // Steps of 1; the long prompt is sent at 3.5, and has its first token at 6.
  result.records = {good(0, {1, 2, 3, 4, 6.5, 7, 8, 9}, 8), good(0, {1, 2, 3, 4.5, 5.5}, 5),
                    good(3.5, {6, 7}, 2)};
  const LongPromptSummary s = summarize_long_prompt(result);
  EXPECT_EQ(s.streams, 2);
  EXPECT_EQ(s.still_running, 1);
  EXPECT_DOUBLE_EQ(s.first_token, 2.5);
  EXPECT_DOUBLE_EQ(s.before.largest, 1);
  EXPECT_DOUBLE_EQ(s.during.largest, 2.5);
  EXPECT_DOUBLE_EQ(s.largest, 2.5);
  EXPECT_DOUBLE_EQ(s.median, 1);
  EXPECT_DOUBLE_EQ(s.bound(), 3);
}

TEST(ServingSummary, OverloadByPriority) {
  LoadPlan plan;
  LoadResult result;
  for (int i = 0; i < 5; ++i) {
    plan.requests.push_back({"", 2, i % 2 == 0 ? 0 : 10, 2.0 * (i + 1)});
    result.records.push_back(good(2.0 * (i + 1), {2.0 * i + 3, 2.0 * i + 4}, 4));
    result.records.back().planned = static_cast<size_t>(i);
  }
  result.records[3] = bad(429, "HTTP 429: x");
  result.records[3].planned = 3;
  const OverloadSummary s = summarize_overload(result, plan);
  EXPECT_DOUBLE_EQ(s.offered_rate, 0.5);
  // Events at 3, 4, 5, 6, 7, 8 lie within [2, 10), two tokens each.
  EXPECT_DOUBLE_EQ(s.output_rate, 12.0 / 8);
  EXPECT_EQ(s.priorities.at(0).good, 3);
  EXPECT_EQ(s.priorities.at(10).good, 1);
  EXPECT_EQ(s.priorities.at(10).refused, 1);
  EXPECT_EQ(s.priorities.at(10).failed, 0);
  EXPECT_DOUBLE_EQ(s.priorities.at(0).first_token.largest, 1);
  EXPECT_DOUBLE_EQ(s.priorities.at(0).whole.median, 2);
}

}  // namespace

}  // namespace trireme::launch

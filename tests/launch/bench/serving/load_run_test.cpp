#include "launch/bench/serving/load_run.h"

#include <gtest/gtest.h>

#include "tests/launch/bench/serving/scripted_server.h"

namespace trireme::launch {

namespace {

using test::chunk;
using test::json_answer;
using test::ScriptedReply;
using test::ScriptedServer;
using test::stream_of;

LoadPlan plan_of(int64_t requests, int64_t clients, int64_t max_tokens = 5) {
  LoadPlan plan{{}, clients, 30};
  for (int64_t i = 0; i < requests; ++i) plan.requests.push_back({"{}", max_tokens});
  return plan;
}

TEST(ServingLoad, ClientsKeepTheirConnections) {
  ScriptedServer server([](int, const std::string& head, const std::string& body) {
    EXPECT_TRUE(head.starts_with("POST /v1/completions HTTP/1.1\r\n")) << head;
    EXPECT_EQ(body, "{}");
    return ScriptedReply{stream_of(5, 7)};
  });
  const LoadResult result = run_load(server.endpoint(), plan_of(12, 3));
  ASSERT_EQ(result.records.size(), 12u);
  for (const RequestRecord& record : result.records) {
    EXPECT_EQ(record.error, "");
    EXPECT_EQ(record.status, 200);
    EXPECT_EQ(record.events.size(), 5u);
    EXPECT_EQ(record.tokens, 5);
    EXPECT_EQ(record.prompt_tokens, 7);
    EXPECT_LE(record.sent, record.first_token());
    EXPECT_LE(record.first_token(), record.ended);
    EXPECT_LE(record.ended, result.seconds);
  }
  EXPECT_LE(server.num_connections(), 3);
}

TEST(ServingLoad, EachFailureIsItsRequests) {
  const std::vector<std::string> whole = stream_of(5, 7);
  ScriptedServer server([&](int number, const std::string&, const std::string&) -> ScriptedReply {
    switch (number) {
      case 0:
        return {{json_answer(429, R"({"error":{"message":"too many wait"}})", "Retry-After: 3\r\n")}};
      case 1:
        return {{whole.begin(), whole.begin() + 3}, true};  // a broken stream
      case 2:
        return {{}, true};
      case 3:
        return {{whole[0], whole[1], chunk("")}};  // one that ends early
      case 4:
        return {{"what?\r\n"}};
      default:
        return {whole};
    }
  });
  const LoadResult result = run_load(server.endpoint(), plan_of(6, 1));
  const auto expect = [&](size_t number, int status, const std::string& words) {
    EXPECT_EQ(result.records[number].status, status) << number;
    EXPECT_NE(result.records[number].error.find(words), std::string::npos) << result.records[number].error;
  };
  expect(0, 429, "HTTP 429: too many wait");
  EXPECT_EQ(result.records[0].retry_after, 3);
  expect(1, 200, "closed within");
  EXPECT_EQ(result.records[1].events.size(), 2u);
  expect(2, 0, "closed without an answer");
  expect(3, 200, "[DONE]");
  expect(4, 0, "no answer of HTTP");
  EXPECT_EQ(result.records[5].error, "");
}

TEST(ServingLoad, AConnectionThatTheServerHasClosedMeanwhileIsOpenedAgain) {
  ScriptedServer server([](int, const std::string&, const std::string&) {
    return ScriptedReply{stream_of(5, 7), true};
  });
  const LoadResult result = run_load(server.endpoint(), plan_of(4, 1));
  for (const RequestRecord& record : result.records) EXPECT_EQ(record.error, "");
  EXPECT_EQ(server.num_connections(), 4);
}

TEST(ServingLoad, NobodyListensAndNobodyAnswers) {
  const LoadResult nobody = run_load({"127.0.0.1", 1, "", ""}, plan_of(2, 1));
  for (const RequestRecord& record : nobody.records)
    EXPECT_NE(record.error.find("refused"), std::string::npos);
  ScriptedServer server([](int, const std::string&, const std::string&) {
    return ScriptedReply{{}, false, true};
  });
  LoadPlan plan = plan_of(2, 2);
  plan.timeout = 0.15;
  const LoadResult result = run_load(server.endpoint(), plan);
  for (const RequestRecord& record : result.records) EXPECT_EQ(record.error, "no end within 0.15 s");
}

TEST(ServingLoad, RequestsAreSentWhenTheyAreDue) {
  ScriptedServer server(
      [](int, const std::string&, const std::string&) { return ScriptedReply{stream_of(5, 7)}; });
  LoadPlan plan = plan_of(3, 0);
  plan.requests[1].at = 0.05;
  plan.requests[2].at = 0.15;
  const LoadResult result = run_load(server.endpoint(), plan);
  EXPECT_GE(result.records[1].sent, 0.05);
  EXPECT_GE(result.records[2].sent, 0.15);
  EXPECT_EQ(result.records[2].due, 0.15);
}

TEST(ServingLoad, ALateRequestWaitsForTheStreamsEvents) {
  ScriptedServer server([](int number, const std::string&, const std::string&) {
    return ScriptedReply{stream_of(number == 2 ? 1 : 5, 7)};
  });
  LoadPlan plan = plan_of(3, 0);
  plan.requests[2].max_tokens = 1;
  plan.requests[2].after_events = 4;
  const LoadResult result = run_load(server.endpoint(), plan);
  EXPECT_EQ(result.records[2].error, "");
  for (size_t i = 0; i < 2; ++i) EXPECT_GE(result.records[2].sent, result.records[i].events[3]) << i;
}

TEST(ServingLoad, ALargeRequestArrivesWhole) {
  const std::string body(3 << 20, 'x');
  ScriptedServer server([&](int, const std::string&, const std::string& came) {
    EXPECT_EQ(came.size(), body.size());
    return ScriptedReply{stream_of(5, 7)};
  });
  LoadPlan plan = plan_of(1, 1);
  plan.requests[0].body = body;
  EXPECT_EQ(run_load(server.endpoint(), plan).records[0].error, "");
}

}  // namespace

}  // namespace trireme::launch

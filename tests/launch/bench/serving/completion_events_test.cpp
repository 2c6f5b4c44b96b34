#include "launch/bench/serving/completion_events.h"

#include <gtest/gtest.h>

namespace trireme::launch {

namespace {

constexpr const char* kUsage =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}\n\n";

/// An event of one choice; `finish` as it stands in the JSON.
std::string event(const std::string& text, const std::string& finish = "null") {
  return "data: {\"choices\": [ {\"text\": \"" + text + "\", \"finish_reason\": " + finish +
         "}], \"usage\": null}\n\n";
}

/// Fed in pieces of `size` bytes, which come at 0, 1, 2...
RequestRecord read_events(const std::string& body, int64_t max_tokens = 3, size_t size = 1 << 20) {
  RequestRecord record;
  CompletionEvents events(record);
  for (size_t at = 0; at < body.size(); at += size)
    events.feed(std::string_view(body).substr(at, size), static_cast<double>(at / size));
  events.finish(max_tokens);
  return record;
}

TEST(CompletionEvents, InPiecesOfEverySize) {
  const std::string body = ": a comment\r\nevent: x\n" + event("a") + event("") + event("c", "\"length\"") +
                           kUsage + "data: [DONE]\n\n";
  for (size_t size = 1; size <= body.size(); ++size) {
    const RequestRecord record = read_events(body, 3, size);
    EXPECT_EQ(record.error, "") << size;
    EXPECT_EQ(record.events.size(), 3u);
    EXPECT_EQ(record.finish, "length");
    EXPECT_EQ(record.prompt_tokens, 9);
    EXPECT_EQ(record.tokens, 3);
  }
  const RequestRecord slow = read_events(body, 3, 1);
  EXPECT_LT(slow.events[0], slow.events[1]);
  EXPECT_LT(slow.events[1], slow.events[2]);
}

TEST(CompletionEvents, AnEventThatOnlyEndsTheTextIsNoToken) {
  const RequestRecord record =
      read_events(event("a") + event("b") + event("c") + event("", "\"length\"") + kUsage + "data: [DONE]\n");
  EXPECT_EQ(record.error, "");
  EXPECT_EQ(record.events.size(), 3u);
}

TEST(CompletionEvents, EventsMayCarrySeveralTokensAndUsageMayBeMissing) {
  EXPECT_EQ(read_events(event("a b c", "\"length\"") + kUsage + "data: [DONE]\n").error, "");
  const RequestRecord record = read_events(event("a", "\"stop\"") + "data: [DONE]\n");
  EXPECT_EQ(record.error, "");
  EXPECT_EQ(record.tokens, -1);
  EXPECT_EQ(record.num_tokens(), 1);
}

TEST(CompletionEvents, ATextThatLooksLikeFieldsIsText) {
  const RequestRecord record = read_events(event("\\\"finish_reason\\\": \\\"stop\\\", \\\"usage\\\": "
                                                 "{\\\"completion_tokens\\\": 70}, \\\"choices\\\": []") +
                                           event("b", "\"length\"") + kUsage + "data: [DONE]\n");
  EXPECT_EQ(record.error, "");
  EXPECT_EQ(record.events.size(), 2u);
  EXPECT_EQ(record.finish, "length");
  EXPECT_EQ(record.tokens, 3);
}

TEST(CompletionEvents, WhatIsNotAsItShouldBe) {
  const auto expect = [](const std::string& body, const std::string& words, int64_t max_tokens = 3) {
    EXPECT_NE(read_events(body, max_tokens).error.find(words), std::string::npos)
        << words << ": " << read_events(body, max_tokens).error;
  };
  const std::string done = "data: [DONE]\n\n", end = event("c", "\"length\"");
  expect("", "[DONE]");
  expect(end + kUsage, "[DONE]");
  expect(end + kUsage + "data: [DONE]", "[DONE]");  // half a line
  expect(event("a") + kUsage + done, "finish_reason");
  expect(end + done + event("d"), "after [DONE]");
  expect(event("a") + event("a") + event("a") + end + kUsage + done, "4 events with text, but usage says 3");
  expect(end + kUsage + done, "length after 3 tokens of 4", 4);
  expect(event("a") + "data: {\"error\": {\"message\": \"the model is stuck\"}}\n\n" + done,
         "the model is stuck");
}

TEST(CompletionEvents, ErrorMessages) {
  EXPECT_EQ(error_message(R"({"error":{"message":"too many","type":"x"}})"), "too many");
  EXPECT_EQ(error_message(R"({"error":"too many"})"), "too many");
  EXPECT_EQ(error_message("<html>"), "<html>");
  EXPECT_EQ(error_message(std::string(1000, 'x')).size(), 200u);
}

}  // namespace

}  // namespace trireme::launch

#include "launch/bench/serving/endpoint.h"

#include <gtest/gtest.h>

#include "runtime/base/error.h"
#include "tests/launch/bench/serving/scripted_server.h"

namespace trireme::launch {

namespace {

using test::json_answer;
using test::ScriptedReply;
using test::ScriptedServer;

std::string words_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Endpoint, Urls) {
  EXPECT_EQ(parse_endpoint("http://127.0.0.1:8000").url(), "http://127.0.0.1:8000");
  EXPECT_EQ(parse_endpoint("http://host/v1/").url(), "http://host:80");
  EXPECT_EQ(parse_endpoint("http://host:9/proxy/v1").prefix, "/proxy");
  EXPECT_EQ(parse_endpoint("http://[::1]:9").host, "[::1]");
  EXPECT_EQ(parse_endpoint("http://[::1]").port, 80);
  for (const char* url : {"", "host:80", "http://", "http://:80", "http://host:", "http://host:0",
                          "http://host:65536", "http://host:12x", "http://host:-1", "ftp://host"})
    EXPECT_NE(words_of([&] { parse_endpoint(url); }).find("--url"), std::string::npos) << url;
  EXPECT_NE(words_of([] { parse_endpoint("https://host"); }).find("TLS"), std::string::npos);
}

TEST(Endpoint, RequestsHaveWhatServersNeed) {
  Endpoint endpoint{"host", 9, "/proxy", ""};
  EXPECT_EQ(http_request(endpoint, "/v1/models", ""),
            "GET /proxy/v1/models HTTP/1.1\r\nHost: host:9\r\n\r\n");
  endpoint.api_key = "secret";
  EXPECT_EQ(http_request(endpoint, "/x", "{}"),
            "POST /proxy/x HTTP/1.1\r\nHost: host:9\r\nAuthorization: Bearer secret\r\n"
            "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
}

TEST(Endpoint, TheFirstModel) {
  ScriptedServer server([](int number, const std::string&, const std::string&) {
    return ScriptedReply{
        {json_answer(200, number == 0 ? R"({"data":[{"id":"one"},{"id":"two"}]})" : R"({"data":[]})")}};
  });
  EXPECT_EQ(first_model(server.endpoint(), 20), "one");
  EXPECT_NE(words_of([&] { first_model(server.endpoint(), 20); }).find("--model"), std::string::npos);
}

TEST(Endpoint, WhatGoesWrongIsSaid) {
  ScriptedServer server([](int number, const std::string&, const std::string&) -> ScriptedReply {
    if (number == 0) return {{json_answer(401, R"({"error":{"message":"no key"}})")}};
    return {{}, number == 1, number == 2};
  });
  EXPECT_NE(words_of([&] { http_get(server.endpoint(), "/x", 20); }).find("HTTP 401: no key"),
            std::string::npos);
  EXPECT_NE(words_of([&] { http_get(server.endpoint(), "/x", 20); }).find("closed"), std::string::npos);
  EXPECT_NE(words_of([&] { http_get(server.endpoint(), "/x", 0.1); }).find("no answer within 0.1 s"),
            std::string::npos);
  const Endpoint nobody{"127.0.0.1", 1, "", ""};
  EXPECT_NE(words_of([&] { http_get(nobody, "/x", 20); }).find("refused"), std::string::npos);
  const Endpoint nowhere{"no.such.host.invalid", 1, "", ""};
  EXPECT_NE(words_of([&] { http_get(nowhere, "/x", 20); }).find("no.such.host.invalid"), std::string::npos);
}

}  // namespace

}  // namespace trireme::launch

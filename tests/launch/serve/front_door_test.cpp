// HTTP before the model is there.
#include "launch/serve/front_door.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/error.h"
#include "tests/launch/serve/protocol/api_rig.h"
#include "tests/support/http_client.h"

namespace trireme::launch::test {
namespace {

using trireme::test::get_request;
using trireme::test::HttpClient;
using trireme::test::post_request;

ServeArguments arguments_of(uint16_t port) {
  ServeArguments arguments;
  arguments.port = port;
  return arguments;
}

TEST(ServeFrontDoor, SaysThatTheModelIsLoadedUntilItIs) {
  const MarkedBytes tokenizer;
  PlayedEngine engine;
  ServingMetrics metrics("tiny");
  FrontDoor door(arguments_of(0), {});
  HttpClient client(door.port());
  const auto health = client.ask(get_request("/health"));
  EXPECT_EQ(health.status, 503);
  EXPECT_EQ(health.body, R"({"status":"the model is being loaded"})");
  const auto early = client.ask(post_request("/v1/completions", R"({"prompt":"a"})"));
  EXPECT_EQ(early.status, 503);
  EXPECT_EQ(early.header("Retry-After"), "5");
  EXPECT_EQ(ordered_json::parse(early.body)["error"]["message"], "the model is being loaded");
  ServedModel model;
  model.name = "tiny";
  model.tokenizer = &tokenizer;
  door.open(std::move(model), {"key"}, engine, metrics);
  EXPECT_EQ(client.ask(get_request("/health")).status, 200) << "on the same connection";
  EXPECT_EQ(client.ask(get_request("/v1/models")).status, 401);
  EXPECT_EQ(engine.num_submissions, 0);
  door.close();
  EXPECT_EQ(HttpClient(door.port()).ask(get_request("/health")).status, 0);
}

TEST(ServeFrontDoor, FindsATakenPortAtOnce) {
  const FrontDoor first(arguments_of(0), {});
  try {
    FrontDoor(arguments_of(first.port()), {});
    FAIL() << "two listen at one port";
  } catch (const EnvironmentError& error) {
    EXPECT_EQ(error.code(), ExitCode::resources);
    EXPECT_THAT(error.what(), ::testing::HasSubstr(std::to_string(first.port())));
  }
}

TEST(ServeFrontDoor, ClosesUnopened) {
  FrontDoor door(arguments_of(0), {});
  HttpClient client(door.port());
  EXPECT_EQ(client.ask(get_request("/health")).status, 503);
  door.close();
  EXPECT_EQ(client.read_to_end(), "");
}

}  // namespace
}  // namespace trireme::launch::test

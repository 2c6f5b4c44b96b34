#include "launch/bench/serving/server_child.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace trireme::launch {

namespace {

std::vector<std::string> shell(const std::string& script) { return {"/bin/sh", "-c", script}; }

TEST(ServerChild, ListensAndEndsInGoodOrder) {
  ServerChild server(
      shell(
          "trap 'exit 3' TERM; echo banner; echo listening on http://host:1/x; while :; do sleep 0.02; done"),
      20);
  EXPECT_EQ(server.url(), "http://host:1/x");
  EXPECT_EQ(server.stop(20), 3);
}

TEST(ServerChild, OneThatDoesNotEndIsKilled) {
  ServerChild server(shell("trap '' TERM; echo listening on http://host:1; while :; do sleep 0.02; done"),
                     20);
  EXPECT_EQ(server.stop(0.1), 128 + 9);
}

TEST(ServerChild, OneThatEndsBeforeItListens) {
  test::expect_error(ExitCode::bad_input, {"/bin/sh", "exit code 3"},
                     [] { ServerChild(shell("exit 3"), 20); });
  test::expect_error(ExitCode{127}, {"/no/such"}, [] { ServerChild({"/no/such"}, 20); });
}

TEST(ServerChild, OneThatNeverListens) {
  test::expect_error(ExitCode::resources, {"did not listen within 0.2 s"},
                     [] { ServerChild(shell("printf 'listening on http://ho'; exec sleep 30"), 0.2); });
}

}  // namespace

}  // namespace trireme::launch

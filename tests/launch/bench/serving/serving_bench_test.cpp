#include "launch/bench/serving/serving_bench.h"

#include <mutex>
#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "tests/launch/bench/serving/scripted_server.h"

namespace trireme::launch {

namespace {

using test::json_answer;
using test::ScriptedReply;
using test::ScriptedServer;
using test::stream_of;

/// Runs it against a server that does what it is asked for; every `refuses`th request is refused.
struct Played {
  explicit Played(ServingBench bench, int refuses = 0) {
    ScriptedServer server([&](int number, const std::string&, const std::string& body) -> ScriptedReply {
      const auto json = nlohmann::json::parse(body);
      {
        const std::lock_guard lock(mutex);
        asked.push_back(json);
      }
      if (refuses > 0 && number % refuses == refuses - 1) return {{json_answer(429, "{}")}};
      return {stream_of(json["max_tokens"].get<int64_t>(), static_cast<int64_t>(json["prompt"].size()))};
    });
    bench.endpoint = server.endpoint();
    std::FILE* out = std::tmpfile();
    result = run_serving_bench(bench, out);
    std::rewind(out);
    for (int c = std::fgetc(out); c != EOF; c = std::fgetc(out)) printed += static_cast<char>(c);
    std::fclose(out);
  }

  std::mutex mutex;
  std::vector<nlohmann::json> asked;
  nlohmann::ordered_json result;
  std::string printed;
};

ServingBench small_bench() {
  ServingBench bench;
  bench.model = "a \"model\"";
  bench.prompt = {.tokens = 20, .shared_prefix = 8, .are_ids = true};
  bench.max_tokens = 4;
  bench.clients = {1, 3};
  return bench;
}

TEST(ServingBench, EachNumberOfClientsIsAPoint) {
  Played played(small_bench());
  const auto& points = played.result["points"];
  ASSERT_EQ(points.size(), 2u);
  EXPECT_EQ(points[0]["load"], "1");
  EXPECT_EQ(points[0]["good"], 8);
  EXPECT_EQ(points[1]["good"], 12);
  EXPECT_EQ(points[1]["mean_prompt_tokens"], 20);
  EXPECT_EQ(points[1]["early_ends"], 0);
  EXPECT_GT(points[1]["output_tokens_per_second"], 0);
  EXPECT_EQ(played.result["failed"], 0);
  ASSERT_EQ(played.asked.size(), 2u + 8 + 12);
  std::set<std::string> prompts;
  for (const auto& body : played.asked) {
    EXPECT_EQ(body["model"], "a \"model\"");
    EXPECT_EQ(body["stream"], true);
    EXPECT_EQ(body["ignore_eos"], true);
    EXPECT_EQ(body["temperature"], 0);
    EXPECT_EQ(body["stream_options"]["include_usage"], true);
    EXPECT_FALSE(body.contains("priority"));
    prompts.insert(body["prompt"].dump());
  }
  EXPECT_EQ(prompts.size(), played.asked.size());
}

TEST(ServingBench, RatesAndRefusals) {
  ServingBench bench = small_bench();
  bench.rates = {200};
  bench.requests = 20;
  bench.warmup = 0;
  Played played(bench, 4);
  const auto& point = played.result["points"][0];
  EXPECT_EQ(point["load"], "200/s");
  EXPECT_EQ(point["good"], 15);
  EXPECT_EQ(point["errors"]["HTTP 429"], 5);
  EXPECT_EQ(played.result["failed"], 5);
  EXPECT_NE(played.printed.find("200/s: 5 failed: HTTP 429"), std::string::npos) << played.printed;
}

TEST(ServingBench, ALongPromptAmongStreams) {
  ServingBench bench = small_bench();
  bench.clients = {3};
  bench.max_tokens = 40;
  bench.long_prompt = 500;
  Played played(bench);
  EXPECT_EQ(played.result["long_prompt"]["prompt_tokens"], 500);
  EXPECT_EQ(played.result["long_prompt"]["streams"], 3);
  EXPECT_EQ(played.result["failed"], 0);
  EXPECT_EQ(played.asked.back()["prompt"].size(), 500u);
}

TEST(ServingBench, ALongPromptThatIsRefusedIsAFailure) {
  ServingBench bench = small_bench();
  bench.clients = {3};
  bench.max_tokens = 40;
  bench.long_prompt = 500;
  Played played(bench, 6);  // two to warm up and three streams come before
  EXPECT_EQ(played.result["failed"], 1);
  EXPECT_FALSE(played.result.contains("long_prompt"));
  EXPECT_NE(played.printed.find("the long prompt: HTTP 429"), std::string::npos) << played.printed;
}

TEST(ServingBench, OverloadHasTwoPriorities) {
  ServingBench bench = small_bench();
  bench.overload = 2;
  bench.requests = 40;
  Played played(bench);
  const auto& priorities = played.result["overload"]["priorities"];
  ASSERT_EQ(priorities.size(), 2u);
  EXPECT_EQ(priorities[0]["priority"], 0);
  EXPECT_EQ(priorities[1]["priority"], 10);
  EXPECT_EQ(priorities[0]["good"].get<int>() + priorities[1]["good"].get<int>(), 40);
  EXPECT_GT(priorities[1]["requests"], 5);
  EXPECT_EQ(played.result["failed"], 0);
}

TEST(ServingBench, AServerThatAnswersNothingIsAnError) {
  EXPECT_THROW(Played(small_bench(), 1), EnvironmentError);
}

}  // namespace

}  // namespace trireme::launch

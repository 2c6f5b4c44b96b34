#include "launch/serve/metrics/serving_metrics.h"

#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/serve/metrics/status_text.h"
#include "tests/launch/serve/metrics/prometheus_page.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {

namespace {

using test::read_prometheus;
using Page = test::PrometheusPage;
using testing::ElementsAre;

const std::string kNoPowercap = "/nowhere";

EngineState some_state() {
  return {.is_ready = true,
          .trouble = "",
          .running = 5,
          .waiting = 3,
          .used_blocks = 41,
          .num_blocks = 100,
          .block_tokens = 16,
          .max_seq_len = 2048};
}

TextTimes some_text(const std::string& finish) {
  return {.arrived = 10,
          .begun = 10.25,
          .first_token = 11,
          .ended = 14,
          .prompt_tokens = 300,
          .reused_tokens = 128,
          .generated_tokens = 11,
          .max_tokens = 64,
          .finish = finish};
}

TEST(ServingMetrics, ThePageOfAServerThatHasDoneNothing) {
  const Page page = read_prometheus(ServingMetrics("m", kNoPowercap).prometheus({}));
  EXPECT_EQ(page.value("vllm:kv_cache_usage_perc"), 0);
  EXPECT_EQ(page.value("vllm:request_success_total", {{"finished_reason", "stop"}}), 0);
  EXPECT_EQ(page.value("trireme:ready"), 0);
  EXPECT_FALSE(page.has("trireme:joules_total"));
  EXPECT_GT(page.value("process_resident_memory_bytes"), 1 << 20);
  EXPECT_GT(page.value("process_start_time_seconds"), 1.7e9);
}

TEST(ServingMetrics, StateAndCountsAreOnThePage) {
  ServingMetrics metrics("a \"model\"\\\n", kNoPowercap);
  const GenerationCounts counts{.prompt_tokens = 1000,
                                .reused_tokens = 380,
                                .preemptions = 2,
                                .decoded_tokens = 500,
                                .passes = 70,
                                .drafted_tokens = 100,
                                .accepted_tokens = 71,
                                .exit_rows = 400,
                                .exit_blocks = 1700};
  metrics.pass({.prompt_tokens = 30, .decoded_tokens = 4}, counts);
  metrics.pass({.decoded_tokens = 8}, counts);
  const Page page = read_prometheus(metrics.prometheus(some_state()));
  const Page::Labels labels = {{"model_name", "a \"model\"\\\n"}, {"engine", "0"}};
  const std::pair<const char*, double> expected[] = {{"vllm:num_requests_running", 5},
                                                     {"vllm:num_requests_waiting", 3},
                                                     {"vllm:kv_cache_usage_perc", 0.41},
                                                     {"vllm:prefix_cache_queries_total", 1000},
                                                     {"vllm:prefix_cache_hits_total", 380},
                                                     {"vllm:num_preemptions_total", 2},
                                                     {"vllm:prompt_tokens_total", 1000},
                                                     {"vllm:generation_tokens_total", 500},
                                                     {"vllm:spec_decode_num_draft_tokens_total", 100},
                                                     {"vllm:spec_decode_num_accepted_tokens_total", 71},
                                                     {"trireme:passes_total", 70},
                                                     {"trireme:exit_tokens_total", 400},
                                                     {"trireme:exit_layers_total", 1700},
                                                     {"trireme:cache_blocks_used", 41},
                                                     {"trireme:cache_blocks", 100},
                                                     {"vllm:iteration_tokens_total_count", 2},
                                                     {"vllm:iteration_tokens_total_sum", 42}};
  for (const auto& [name, value] : expected) EXPECT_EQ(page.value(name, labels), value) << name;
  EXPECT_EQ(page.value("vllm:iteration_tokens_total_bucket", {{"le", "8.0"}}), 1);
  EXPECT_EQ(page.value("vllm:iteration_tokens_total_bucket", {{"le", "64.0"}}), 2);
  EXPECT_EQ(page.value("vllm:cache_config_info", {{"block_size", "16"}, {"num_gpu_blocks", "100"}}), 1);
}

TEST(ServingMetrics, TextsAreObservedByWhatTheyReached) {
  ServingMetrics metrics("m", kNoPowercap);
  metrics.text_ended(some_text("stop"));
  metrics.text_ended({.arrived = 10, .ended = 12, .prompt_tokens = 5, .finish = "abort"});
  metrics.text_ended({.arrived = 10, .begun = 11, .ended = 12, .prompt_tokens = 5, .finish = "something"});
  const Page page = read_prometheus(metrics.prometheus(some_state()));
  const auto count = [&](const char* reason) {
    return page.value("vllm:request_success_total", {{"finished_reason", reason}});
  };
  EXPECT_EQ(count("stop"), 1);
  EXPECT_EQ(count("abort"), 1);
  EXPECT_EQ(count("error"), 1);
  EXPECT_EQ(count("length"), 0);
  const auto expect = [&](const std::string& name, double values, double sum) {
    EXPECT_EQ(page.value(name + "_count"), values) << name;
    EXPECT_DOUBLE_EQ(page.value(name + "_sum"), sum) << name;
  };
  expect("vllm:time_to_first_token_seconds", 1, 1);
  expect("vllm:request_queue_time_seconds", 2, 0.25 + 1);
  expect("vllm:request_prefill_time_seconds", 1, 0.75);
  expect("vllm:request_decode_time_seconds", 1, 3);
  expect("vllm:request_inference_time_seconds", 2, 3.75 + 1);
  expect("vllm:e2e_request_latency_seconds", 3, 4 + 2 + 2);
  expect("vllm:request_time_per_output_token_seconds", 1, 0.3);
  expect("vllm:request_prompt_tokens", 3, 310);
  expect("vllm:request_generation_tokens", 3, 11);
  expect("vllm:request_max_num_generation_tokens", 3, 11);
  expect("vllm:request_params_max_tokens", 1, 64);
}

TEST(ServingMetrics, BucketsAreThoseOfVllm) {
  const Page page =
      read_prometheus(ServingMetrics("m", kNoPowercap).prometheus({.trouble = "", .max_seq_len = 300}));
  EXPECT_THAT(page.bounds("vllm:time_to_first_token_seconds"),
              ElementsAre("0.001", "0.005", "0.01", "0.02", "0.04", "0.06", "0.08", "0.1", "0.25", "0.5",
                          "0.75", "1.0", "2.5", "5.0", "7.5", "10.0", "20.0", "40.0", "80.0", "160.0",
                          "640.0", "2560.0", "+Inf"));
  const auto of_token =
      ElementsAre("0.01", "0.025", "0.05", "0.075", "0.1", "0.15", "0.2", "0.3", "0.4", "0.5", "0.75", "1.0",
                  "2.5", "5.0", "7.5", "10.0", "20.0", "40.0", "80.0", "+Inf");
  for (const char* name : {"vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds",
                           "vllm:request_time_per_output_token_seconds"})
    EXPECT_THAT(page.bounds(name), of_token) << name;
  const auto of_text =
      ElementsAre("0.3", "0.5", "0.8", "1.0", "1.5", "2.0", "2.5", "5.0", "10.0", "15.0", "20.0", "30.0",
                  "40.0", "50.0", "60.0", "120.0", "240.0", "480.0", "960.0", "1920.0", "7680.0", "+Inf");
  for (const char* name : {"e2e_request_latency", "request_queue_time", "request_prefill_time",
                           "request_decode_time", "request_inference_time"})
    EXPECT_THAT(page.bounds(std::string("vllm:") + name + "_seconds"), of_text) << name;
  for (const char* name :
       {"prompt_tokens", "generation_tokens", "max_num_generation_tokens", "params_max_tokens"})
    EXPECT_THAT(page.bounds(std::string("vllm:request_") + name),
                ElementsAre("1.0", "2.0", "5.0", "10.0", "20.0", "50.0", "100.0", "200.0", "+Inf"))
        << name;
  EXPECT_THAT(page.bounds("vllm:iteration_tokens_total"),
              ElementsAre("1.0", "8.0", "16.0", "32.0", "64.0", "128.0", "256.0", "512.0", "1024.0", "2048.0",
                          "4096.0", "8192.0", "16384.0", "+Inf"));
}

TEST(ServingMetrics, ClientsCannotMakeSeries) {
  ServingMetrics metrics("m", kNoPowercap);
  metrics.answered("POST", "/v1/completions", 200);
  metrics.answered("POST", "/v1/completions", 200);
  metrics.answered("POST", "/v1/completions", 429);
  for (int i = 0; i < 100; ++i) {
    metrics.answered("GET", "/secret/" + std::to_string(i), 404);
    metrics.answered("X" + std::to_string(i), "/health", 405);
  }
  metrics.refused();
  const std::string text = metrics.prometheus({});
  const Page page = read_prometheus(text);
  const auto count = [&](const char* method, const char* path, const char* status) {
    return page.value("trireme:http_requests_total",
                      {{"method", method}, {"path", path}, {"status", status}});
  };
  EXPECT_EQ(count("POST", "/v1/completions", "200"), 2);
  EXPECT_EQ(count("POST", "/v1/completions", "429"), 1);
  EXPECT_EQ(count("GET", "other", "404"), 100);
  EXPECT_EQ(count("other", "/health", "405"), 100);
  EXPECT_EQ(page.value("trireme:refused_total"), 1);
  EXPECT_EQ(text.find("secret"), std::string::npos);
}

TEST(ServingMetrics, TokensCountBeforeTheirPassEnds) {
  ServingMetrics metrics("m", kNoPowercap);
  const auto tokens = [&] {
    return read_prometheus(metrics.prometheus({})).value("vllm:generation_tokens_total");
  };
  metrics.token();
  metrics.token();
  EXPECT_EQ(tokens(), 2);
  GenerationCounts counts;
  counts.decoded_tokens = 3;
  metrics.pass({}, counts);
  EXPECT_EQ(tokens(), 3);
}

TEST(ServingMetrics, EveryCallFromAnyThread) {
  ServingMetrics metrics("m", kNoPowercap);
  constexpr int kThreads = 3, kTimes = 300;
  std::vector<std::jthread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&metrics] {
      for (int i = 0; i < kTimes; ++i) {
        metrics.token_gap(0.004 * i);
        metrics.text_ended(some_text("length"));
        metrics.answered("GET", "/health", 200);
        metrics.refused();
        metrics.pass({.decoded_tokens = 1}, {});
      }
    });
  }
  for (int i = 0; i < 20; ++i) {
    read_prometheus(metrics.prometheus(some_state()));  // throws where counts do not agree
    metrics.status_line(some_state());
  }
  threads.clear();
  const Page page = read_prometheus(metrics.prometheus(some_state()));
  constexpr double kAll = kThreads * kTimes;
  EXPECT_EQ(page.value("vllm:inter_token_latency_seconds_count"), kAll);
  EXPECT_EQ(page.value("vllm:inter_token_latency_seconds_bucket", {{"le", "0.1"}}), kThreads * 26);
  EXPECT_EQ(page.value("vllm:time_per_output_token_seconds_count"), kAll);
  EXPECT_EQ(page.value("vllm:request_success_total", {{"finished_reason", "length"}}), kAll);
  EXPECT_EQ(page.value("trireme:refused_total"), kAll);
}

TEST(ServingMetrics, JoulesWhereTheMachineTells) {
  const test::TemporaryFolder folder;
  const std::string zone = folder.path() + "/intel-rapl:0";
  std::filesystem::create_directories(zone);
  std::ofstream(zone + "/name") << "package-0\n";
  std::ofstream(zone + "/energy_uj") << "1000000\n";
  ServingMetrics metrics("m", folder.path());
  metrics.pass({}, {.decoded_tokens = 10});
  std::ofstream(zone + "/energy_uj") << "9000000\n";
  EXPECT_THAT(metrics.status_line({}), testing::EndsWith(" | 0.8 J/token (processor)"));
  metrics.pass({}, {.decoded_tokens = 12});
  std::ofstream(zone + "/energy_uj") << "59000000\n";
  EXPECT_THAT(metrics.status_line({}), testing::EndsWith(" | 25 J/token (processor)"));
  EXPECT_EQ(read_prometheus(metrics.prometheus({})).value("trireme:joules_total"), 58);
}

TEST(ServingMetrics, TheLineOfStatusIsOfWhatHappenedSinceTheLast) {
  ServingMetrics metrics("m", kNoPowercap);
  metrics.pass({}, {.prompt_tokens = 100, .reused_tokens = 50, .preemptions = 3, .drafted_tokens = 4});
  metrics.refused();
  EXPECT_THAT(metrics.status_line(some_state()), testing::HasSubstr("(50 % reused)"));
  metrics.pass({}, {.prompt_tokens = 200, .reused_tokens = 70, .preemptions = 4, .drafted_tokens = 4});
  const std::string line = metrics.status_line(some_state());
  EXPECT_THAT(line, testing::StartsWith("serve: 5 running, 3 waiting | cache 41 % | prompts "));
  EXPECT_THAT(line, testing::HasSubstr(" tokens/s (20 % reused), texts 0 tokens/s | 1 preemption"));
  EXPECT_THAT(line, testing::Not(testing::HasSubstr("drafts")));
  EXPECT_THAT(line, testing::Not(testing::HasSubstr("refused")));
}

TEST(StatusText, SaysWhatThereIs) {
  EXPECT_EQ(status_text({}),
            "serve: 0 running, 0 waiting | cache 0 % | prompts 0 tokens/s, texts 0 tokens/s");
  EXPECT_EQ(
      status_text({.seconds = 10,
                   .running = 12,
                   .waiting = 3,
                   .cache_share = 0.41,
                   .read_tokens = 5120,
                   .prompt_tokens = 5120,
                   .reused_tokens = 1946,
                   .generated_tokens = 2100,
                   .drafted_tokens = 100,
                   .accepted_tokens = 71,
                   .exit_tokens = 200,
                   .exit_layers = 850,
                   .preemptions = 2,
                   .refused = 7,
                   .joules = 1680}),
      "serve: 12 running, 3 waiting | cache 41 % | prompts 512 tokens/s (38 % reused), texts 210 tokens/s | "
      "drafts 71 % accepted | 4.2 layers a token | 2 preemptions | 7 refused | 0.8 J/token (processor)");
}

}  // namespace

}  // namespace trireme::launch

// Measures a server of OpenAI's /v1/completions.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "launch/bench/serving/endpoint.h"
#include "launch/bench/serving/prompts.h"

namespace trireme::launch {

struct ServingBench {
  Endpoint endpoint;
  std::string model;  ///< as requests name it
  std::vector<int64_t> clients = {1, 4,
                                  16};  ///< one measurement each: so many requests in flight all the time
  std::vector<double> rates;            ///< or these: requests a second, at random times (Poisson)
  int64_t requests = 0;                 ///< of one measurement; 0: by clients or rate
  PromptOptions prompt;
  int64_t max_tokens = 64;
  int64_t warmup = 2;  ///< requests before, which do not count
  int64_t long_prompt =
      0;  ///< instead: a prompt of so many tokens while the first number of clients' streams run
  double overload = 0;  ///< after the clients: so many times the best of them, with two priorities
  double timeout = 600;
};

/// The JSON of one request; `index` chooses the prompt. Priority 0 is not written.
std::string completion_body(const ServingBench& bench, uint64_t index, int64_t prompt_tokens,
                            int64_t priority);

/// Prints a table to `out` as it goes; returns all figures as JSON, times in seconds: {"url", "model", ...,
/// "points": [...], "long_prompt": {...}, "overload": {...}, "failed": N}. N: requests that were not answered
/// as they should, refusals (429) of an overload aside.
nlohmann::ordered_json run_serving_bench(const ServingBench& bench, std::FILE* out);

}  // namespace trireme::launch

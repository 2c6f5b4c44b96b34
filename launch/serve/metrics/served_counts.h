// ServedCounts: all that ServingMetrics has counted, as plain data.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "launch/serve/engine/text_engine.h"
#include "launch/serve/metrics/histogram.h"
#include "launch/serve/metrics/process_facts.h"
#include "models/inference/generator.h"

namespace trireme::launch {

/// Method, path and status of an answer.
using AnswerKind = std::tuple<std::string, std::string, int>;

/// Bounds of histograms are those of vLLM 0.11 (vllm/v1/metrics/loggers.py), so that its dashboards fit.
struct ServedCounts {
  ServedCounts();

  GenerationCounts generation;
  std::map<std::string, int64_t> ended;  ///< texts, by their finish
  int64_t refused = 0;
  std::map<AnswerKind, int64_t> answers;

  Histogram first_token, token_gap, time_per_token;
  Histogram total, queued, prefill, decode, inference;  ///< seconds of a text
  Histogram prompt_tokens, generated_tokens, max_tokens;
  Histogram pass_tokens;
};

/// The page of /metrics.
std::string metrics_page(const ServedCounts& counts, const EngineState& state, const std::string& model_name,
                         const std::optional<double>& joules, const std::optional<ProcessFacts>& process);

}  // namespace trireme::launch

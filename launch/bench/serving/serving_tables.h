// Figures of a server as tables and as JSON.
#pragma once

#include <cstdio>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "launch/bench/serving/serving_bench.h"
#include "launch/bench/serving/summary.h"

namespace trireme::launch {

void print_bench_head(std::FILE* out, const ServingBench& bench);
void print_points_head(std::FILE* out);
void print_point(std::FILE* out, const std::string& load, const LoadSummary& summary);
/// What the points of the JSON have beside figures: texts that ended early, errors, a busy client.
void print_notes(std::FILE* out, const nlohmann::ordered_json& bench);
void print_long_prompt(std::FILE* out, const LongPromptSummary& summary);
void print_overload(std::FILE* out, const OverloadSummary& summary, const LoadSummary& best);

nlohmann::ordered_json bench_json(const ServingBench& bench);
nlohmann::ordered_json point_json(const std::string& load, const LoadSummary& summary);
nlohmann::ordered_json long_prompt_json(const LongPromptSummary& summary);
nlohmann::ordered_json overload_json(const OverloadSummary& summary, const LoadSummary& best);

}  // namespace trireme::launch

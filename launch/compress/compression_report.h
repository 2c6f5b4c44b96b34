// What a compression did, for programs and on a page.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "launch/compress/recipe.h"
#include "launch/compress/work_directory.h"

namespace trireme::launch {

struct CompressionFacts {
  std::string model;
  std::string calibration, evaluation;  ///< which texts, with their tokens
  double predicted_seconds = 0, seconds = 0;
  int64_t predicted_bytes = 0, bytes = 0;  ///< most memory of rank 0; 0: not known
};

nlohmann::ordered_json compression_json(const CompressionFacts& facts, const WorkState& state);

/// HTML: a table of the steps, errors by layer, matrices with notes.
std::string compression_page(const CompressionFacts& facts, const WorkState& state);

}  // namespace trireme::launch

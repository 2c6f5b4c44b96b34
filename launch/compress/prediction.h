// What a recipe will take, before it begins: pure functions of sizes and of a measured rate.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "launch/compress/recipe.h"
#include "models/config/model_config.h"

namespace trireme::launch {

/// Of a step that trains.
struct TrainingLoad {
  int64_t tokens = 0;  ///< of a replica
  bool has_teacher = false;
  int64_t bytes = 0;  ///< of a rank, the teacher apart
};

/// How much there is to do, and how fast the model goes.
struct WorkLoad {
  int64_t calibration_tokens = 0;  ///< of a replica
  int64_t seq_len = 0;             ///< of samples
  int64_t evaluation_tokens = 0;
  int64_t decode_tokens = 0;
  int64_t ranks_of_model = 1;                     ///< that a replica is divided among
  double forward_seconds_per_token = 0;           ///< of the base, measured
  double decode_seconds_per_token = 0;            ///< likewise
  std::map<size_t, TrainingLoad> trainings = {};  ///< by the places of steps
};

struct Prediction {
  double seconds = 0;         ///< of all steps, their measurements included
  int64_t bytes = 0;          ///< most that a rank holds at once
  double hessian_flops = 0;   ///< of all layers and tokens of a replica, of one step
  double rounding_flops = 0;  ///< of all matrices of the model, of the costliest step
};

/// Floating-point operations of sums of x x^T over a token: 2 n^2 for each matrix input of n features; of
/// experts those that a token meets.
double hessian_flops_per_token(const ModelConfig& config);
/// Of GPTQ: a factorization of each Hessian (n^3) and the update of each row (n^2); of AWQ's search 20 errors
/// of n^2 a row.
double rounding_flops(const ModelConfig& config, const QuantizeStep& step);

/// Training takes three times the forward pass of the model as it is then, and a teacher the base's once
/// more. `weight_bytes`: of the base on this rank.
Prediction predict(const ModelConfig& config, const Recipe& recipe, const WorkLoad& load,
                   int64_t weight_bytes);

/// "about 3m and 1.2 GiB on each rank".
std::string text_of(const Prediction& prediction);

}  // namespace trireme::launch

// TrainingState: the state of a training besides its tensors.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "parallel/optimizer/loss_scaler.h"
#include "runtime/io/safetensors/safetensors.h"

namespace trireme {

/// How far the data has been read: all samples of the epochs before, and the first of this one's order.
struct DataPosition {
  int64_t epoch = 0;
  int64_t sample = 0;

  friend bool operator==(const DataPosition&, const DataPosition&) = default;
};

/// Mean and variance of a series so far.
struct SeriesState {
  int64_t count = 0;
  double mean = 0, variance = 0;

  friend bool operator==(const SeriesState&, const SeriesState&) = default;
};

struct BestState {
  int64_t step = 0;
  double loss = 0;  ///< of the validation data, nats

  friend bool operator==(const BestState&, const BestState&) = default;
};

struct TrainingState {
  int64_t step = 0;     ///< optimizer steps that are done
  int64_t updates = 0;  ///< of them, those that changed weights, as the optimizer counts them
  int64_t tokens = 0;   ///< trained on so far
  DataPosition data;
  /// Random numbers are a pure function of (seed, name, index) (philox.h): this is all of the generators'
  /// state.
  uint64_t seed = 0;
  TextMap schedule;                                         ///< of the learning rate, as options and values
  std::optional<LossScalerState> loss_scaler;               ///< which also counts skipped steps
  std::map<std::string, std::vector<float>> router_biases;  ///< by the router's name
  /// Each expert's load in the last step (RouterBalance::last_load), in the same form.
  std::map<std::string, std::vector<double>> router_loads;
  std::map<std::string, SeriesState> z_scores;  ///< by the metric's name
  std::optional<BestState> best;                ///< the evaluation with the least loss so far
  TextMap layout;                               ///< of the ranks that saved, as options and values
  TextMap config;                               ///< all options of the run, resolved

  friend bool operator==(const TrainingState&, const TrainingState&) = default;
};

}  // namespace trireme

// A short training run in some layout, and all its numbers.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "models/config/model_config.h"
#include "parallel/training/training_step.h"
#include "runtime/comm/communicator.h"

namespace trireme::test {

struct LayoutRun {
  ModelConfig model;
  DType precision = DType::f32;
  int64_t steps = 20;
  int64_t seq_len = 12;
  int64_t micro_batch = 1;
  int64_t global_batch = 8;
  bool unequal_targets = false;  ///< samples differ in how many targets count, from none to all
  double lr = 1e-3;
  int num_threads = 1;
  TrainingStepOptions options;
};

struct LayoutResult {
  std::vector<double> losses, norms;  ///< one a step
  std::map<std::string, std::vector<float>>
      gradients;  ///< of the first step: the mean over its tokens; empty where ranks divide them (ZeRO)
  std::map<std::string, std::vector<float>> weights;       ///< after the last step
  std::array<int64_t, kNumMemoryCategories> peak_bytes{};  ///< of this rank
};

/// Runs with every rank of `world` as a data-parallel replica; the global batch does not depend on their
/// number.
LayoutResult run_layout(Communicator& data, const LayoutRun& run);

/// The same run on one rank.
LayoutResult run_on_one_rank(const LayoutRun& run);

/// Fails the test unless gradients and losses are within 1e-5 of one rank's, norms of later steps and weights
/// within 1e-4.
void expect_follows(const LayoutResult& result, const LayoutResult& one);

/// A small model of either family with 3 layers and odd sizes.
ModelConfig tiny_model(ModelFamily family);

/// The largest |a - b| over the largest |b|, over all tensors; names in `worst` the tensor. Fails the test
/// when names or sizes differ.
double largest_difference(const std::map<std::string, std::vector<float>>& a,
                          const std::map<std::string, std::vector<float>>& b, std::string& worst);

}  // namespace trireme::test

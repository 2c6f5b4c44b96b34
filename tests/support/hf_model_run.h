// What this program computes with a model that lies in a directory of Hugging Face's transformers.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "parallel/plan/parallel_plan.h"
#include "runtime/comm/communicator.h"
#include "runtime/device/context.h"
#include "runtime/io/safetensors/safetensors.h"

namespace trireme::test {

struct HfModelRun {
  std::vector<float> logits;  ///< [tokens, vocabulary]
  double loss = 0;            ///< mean over the targets that count
  double gradient_norm = 0;
  /// Of the mean loss, by the names that tensors have in the model's files, as they lie there; of one rank
  /// alone.
  std::map<std::string, std::vector<float>> gradients;
};

/// Reads config.json and weights of `directory` and runs `tokens` and `targets` ([sequences, length] i32) of
/// `reference` in f32 in a layout of tensor- and pipeline-parallel ranks. Every rank of `world` calls it, and
/// gets the same.
HfModelRun run_hf_model(Context& ctx, Communicator& world, const ParallelPlan& plan,
                        const std::string& directory, const SafetensorsReader& reference);

std::vector<float> floats_of(const SafetensorsReader& file, const std::string& name);

/// The largest |a - b| as a share of the largest |b|; infinity where they are of unlike length or not finite.
double relative_difference(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace trireme::test

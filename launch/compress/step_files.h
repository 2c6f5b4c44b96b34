// The file of a step, which the next one begins with.
#pragma once

#include <map>
#include <string>

#include "models/config/model_config.h"
#include "parallel/checkpoint/weights/weight_source.h"
#include "runtime/ops/packed/packed_linear.h"

namespace trireme::launch {

struct StepFormats {
  ops::Activations activations = ops::Activations::exact;
  DType values = DType::bf16;  ///< of matrices that are no codes; vectors are f32
  bool is_sparse = false;      ///< matrices of layers are stored without their zeros, where that is smaller
};

/// Writes all of `config`'s model in one file of our own, codes as `source` has them; it appears when it is
/// whole. On one rank.
void write_step(const std::string& file, const ModelConfig& config, const WeightSource& source,
                const StepFormats& formats);

/// bf16 where all matrices of the source are stored so, else f32.
DType values_type(const WeightSource& source, const ModelConfig& config);

/// The share of zeros of each matrix of layers, and of all their weights together ("").
std::map<std::string, double> zeros_of(const WeightSource& source, const ModelConfig& config);

}  // namespace trireme::launch

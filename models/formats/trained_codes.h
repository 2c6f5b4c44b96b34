// The codes of a quantization-aware training: its weights as what they were trained through.
#pragma once

#include <memory>

#include "models/config/quantization_config.h"
#include "parallel/checkpoint/weights/weight_source.h"

namespace trireme {

/// `weights` of a training with this quantization (a run, a checkpoint, its model.safetensors), as the model
/// that is deployed: matrices that it quantizes are codes (coded(), coded_spec()) of the weights as its
/// layers have them, rounded to its compute type, by its learned scales where the source has them and else by
/// measured ones; read() gives their values. Multiplied by packed kernels they give the training's forward
/// pass, bit for bit. Other tensors are as they are; scales are no tensors of the model. Codes are made anew
/// in each call, of whole rows.
std::unique_ptr<WeightSource> trained_codes(std::unique_ptr<WeightSource> weights,
                                            const QuantizationConfig& quantization);

}  // namespace trireme

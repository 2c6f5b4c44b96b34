// Whether an exported model computes what it was made from.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "models/config/model_config.h"
#include "parallel/module/parameter.h"

namespace trireme::launch {

/// Gives each parameter its whole values.
using FillParameter = std::function<void(const Parameter&, std::span<float>)>;

/// Logits of drawn tokens (two sequences of up to 32), computed on one rank in fp32. The tokens depend on the
/// vocabulary alone. Holds the model and no gradients.
std::vector<float> drawn_logits(const ModelConfig& config, const FillParameter& fill);

/// The largest difference, relative to the largest logit; infinite where sizes differ or one is not finite.
double largest_difference(std::span<const float> expected, std::span<const float> got);

}  // namespace trireme::launch

// Which layers share weights (ModelConfig::share, weights_from), and its text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/config/model_config.h"

namespace trireme {

/// Block i uses the weights of the i-th; nothing where each has its own. Of a config without errors.
std::vector<int64_t> sharing_of(const ModelConfig& config);
/// The same said in the config, in the short form `share` where it repeats in turn.
void set_sharing(ModelConfig& config, const std::vector<int64_t>& weights_from);
/// Layers with weights of their own.
int64_t num_distinct_layers(const ModelConfig& config);

/// Neighbours share two by two, as MobileLLM-LS (arXiv 2402.14905, section 3.3): 0, 0, 2, 2, ...; of an odd
/// number the last layer is alone.
std::vector<int64_t> neighbours_sharing(int64_t num_layers);

/// As --model.share takes it: "0" (none), "4" (in turn), "pairs" (neighbours_sharing()), or a layer for each
/// layer, "0,0,2,0".
std::string sharing_text(const ModelConfig& config);
/// Sets the config, whose number of layers is known; what is allowed where `text` is not, the config being
/// unchanged then. Whether the layers are there and alike is not looked at (errors_of()).
std::string set_sharing_text(ModelConfig& config, std::string_view text);

/// Whether blocks have the same parts, so that they can share weights.
bool have_same_parts(const ModelConfig& config, int64_t a, int64_t b);
std::vector<std::string> sharing_errors(const ModelConfig& config);

}  // namespace trireme

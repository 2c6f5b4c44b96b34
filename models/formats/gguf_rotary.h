// RoPE in the metadata and tables of GGUF files.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/config/model_config.h"
#include "models/formats/gguf_architecture.h"
#include "models/formats/gguf_keys.h"

namespace trireme {

using GgufTables = std::map<std::string, std::vector<float>, std::less<>>;

inline constexpr const char *kGgufFrequencyFactors = "rope_freqs.weight",
                            *kGgufLongFactors = "rope_factors_long.weight",
                            *kGgufShortFactors = "rope_factors_short.weight";

/// Sets theta, dimensions and scaling as llama.cpp computes them; sizes and window are known. Factors of
/// frequencies that are those of Llama 3's formula come back as its numbers, others as longrope with equal
/// lists. UserError (bad_input) naming key or tensor for what cannot be represented.
void read_gguf_rotary(GgufKeys& keys, const GgufArchitecture& architecture, const GgufTables& tables,
                      ModelConfig& config);

/// The reverse: appends keys ("llama.rope.freq_base") and tables. What the architecture has no place for is
/// left out, which reading it back shows.
void write_gguf_rotary(const ModelConfig& config, const GgufArchitecture& architecture,
                       GgufMetadata& metadata, GgufTables& tables);

}  // namespace trireme

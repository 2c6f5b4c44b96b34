// The architectures of GGUF files that can be read and written, and what llama.cpp fixes of each.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "models/config/kinds.h"

namespace trireme {

enum class GgufHead : uint8_t { tied, own, either };  ///< what llama.cpp loads: always, never, or as the file

struct GgufArchitecture {
  std::string_view name;  ///< of general.architecture
  ModelFamily family = ModelFamily::llama;
  GgufHead head = GgufHead::either;
  BiasKind least_bias = BiasKind::none, most_bias = BiasKind::qkv;  ///< which biases it loads
  bool fused_qkv = false;                                           ///< query, key and value in one tensor
  bool fused_gate = false;                                          ///< gate and up in one
  bool free_head_dim = true;                                        ///< may differ from hidden / heads
  bool partial_rotary = false;     ///< may turn fewer dimensions than a head has
  bool frequency_factors = false;  ///< RoPE's frequencies by tensors of factors (Llama 3, longrope)
  bool experts = false;            ///< has mixtures
  bool dense = true;               ///< has feed-forward parts without
  bool own_expert_width = false;   ///< expert_feed_forward_length beside feed_forward_length
  bool reads_window = false;
  int64_t window_pattern = 0;  ///< where the file has none
};

std::span<const GgufArchitecture> gguf_architectures();
/// Null for one that is not there.
const GgufArchitecture* find_gguf_architecture(std::string_view name);

}  // namespace trireme

// The kinds that a model's parts may be of.
#pragma once

#include <cstdint>

namespace trireme {

enum class ModelFamily : uint8_t { gpt2, llama };
enum class NormKind : uint8_t { layer_norm, rms_norm };
enum class ActivationKind : uint8_t { gelu, swiglu };
/// Whether a gate of its own width is multiplied with what it lets through.
constexpr bool is_gated(ActivationKind activation) { return activation == ActivationKind::swiglu; }
enum class PositionKind : uint8_t { learned, rotary };

}  // namespace trireme

// Kinds of norms, activations, positions and families.
#pragma once

#include <cstdint>

namespace trireme {

enum class ModelFamily : uint8_t { gpt2, llama, qwen3, gemma2, mistral };
enum class NormKind : uint8_t { layer_norm, rms_norm };
enum class ActivationKind : uint8_t { gelu, swiglu, geglu };
/// Whether a gate of its own width is multiplied with what it lets through.
constexpr bool is_gated(ActivationKind activation) { return activation != ActivationKind::gelu; }
enum class PositionKind : uint8_t { learned, rotary };
/// before: x + part(norm(x)); both: x + norm(part(norm(x))), with a norm of its own behind (arXiv
/// 2408.00118).
enum class NormPlacement : uint8_t { before, both };

}  // namespace trireme

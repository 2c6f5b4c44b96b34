// Kinds of norms, activations, positions and families.
#pragma once

#include <cstdint>

namespace trireme {

/// Every family, in the order of --help: X(NAME) for each. models/families/NAME.cpp has NAME_family().
#define TRIREME_FAMILIES(X) X(gpt2) X(llama) X(qwen3) X(gemma2) X(mistral)

#define TRIREME_FAMILY_VALUE(name) name,
enum class ModelFamily : uint8_t { TRIREME_FAMILIES(TRIREME_FAMILY_VALUE) };
#undef TRIREME_FAMILY_VALUE

enum class NormKind : uint8_t { layer_norm, rms_norm };
enum class ActivationKind : uint8_t { gelu, swiglu, geglu };
/// Whether a gate of its own width is multiplied with what it lets through.
constexpr bool is_gated(ActivationKind activation) {
  return activation == ActivationKind::swiglu || activation == ActivationKind::geglu;
}
enum class PositionKind : uint8_t { learned, rotary };
/// before: x + part(norm(x)); both: x + norm(part(norm(x))), with a norm of its own behind (arXiv
/// 2408.00118).
enum class NormPlacement : uint8_t { before, both };

}  // namespace trireme

// Kinds of norms, activations, positions and families.
#pragma once

#include <cstdint>

namespace trireme {

/// Every family, in the order of --help: X(NAME) for each. models/families/NAME.cpp has NAME_family().
#define TRIREME_FAMILIES(X) \
  X(gpt2)                   \
  X(llama) X(mistral) X(qwen2) X(qwen3) X(gemma) X(gemma2) X(gemma3) X(phi3) X(olmo2) X(smollm3) X(neox)

#define TRIREME_FAMILY_VALUE(name) name,
enum class ModelFamily : uint8_t { TRIREME_FAMILIES(TRIREME_FAMILY_VALUE) };
#undef TRIREME_FAMILY_VALUE

enum class NormKind : uint8_t { layer_norm, rms_norm };
/// gelu: in the tanh form of GPT-2; gelu_erf: the exact one, x Phi(x) (GPT-NeoX).
enum class ActivationKind : uint8_t { gelu, swiglu, geglu, gelu_erf };
/// Whether a gate of its own width is multiplied with what it lets through.
constexpr bool is_gated(ActivationKind activation) {
  return activation == ActivationKind::swiglu || activation == ActivationKind::geglu;
}
enum class PositionKind : uint8_t { learned, rotary };
/// before: x + part(norm(x)); both: x + norm(part(norm(x))), with a norm of its own behind (arXiv
/// 2408.00118); after: x + norm(part(x)) (OLMo 2, arXiv 2501.00656).
enum class NormPlacement : uint8_t { before, both, after };
/// Which linear layers have biases. all: those of LayerNorms too; attention: query, key, value and output;
/// qkv: query, key and value alone (Qwen2, arXiv 2407.10671).
enum class BiasKind : uint8_t { none, qkv, attention, all };
/// RMSNorm of queries and keys before RoPE. head: each head's on its own, with gains [head_dim] (Qwen3, arXiv
/// 2505.09388); projection: all heads' together, with gains [heads * head_dim] (OLMo 2, arXiv 2501.00656).
enum class QkNormKind : uint8_t { none, head, projection };
/// How RoPE is stretched beyond the positions of the first training, by a factor above 1. llama3: low
/// frequencies alone (arXiv 2407.21783); linear: all by the factor (arXiv 2306.15595); yarn: by parts (arXiv
/// 2309.00071); longrope: each frequency by a factor of its own (arXiv 2402.13753).
enum class RotaryScaling : uint8_t { llama3, linear, yarn, longrope };

}  // namespace trireme

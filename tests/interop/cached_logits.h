// Logits of a model as generation computes them: packed weights, and tokens in pieces over a cache.
#pragma once

#include <string>

namespace trireme {

/// Of the rows of "tokens" [B, T] (i32) in the safetensors file `in`, each a sequence, with integer weights
/// multiplied exactly or with activations in 8 bits. `out` gets "logits" [B, T, V], or with `top_only` "top"
/// [B, T] (the likeliest tokens, as f32) and "margin" [B, T] (by how much their logits exceed the next), both
/// among tokens that are not in "forbidden" [n] (i32) of `in`, where that is there.
void write_cached_logits(const std::string& model, const std::string& in, const std::string& out, bool exact,
                         bool top_only);

}  // namespace trireme

// How far two models' distributions over the next token are apart.
#pragma once

#include <vector>

#include "runtime/device/context.h"
#include "runtime/tensor/tensor.h"

namespace trireme::launch {

struct Divergences {
  std::vector<float> divergences;  ///< of each row: KL(reference || model), in nats; 0 for equal logits
  std::vector<float> same_top;     ///< 1 where the largest logit, the first of equals, is at the same place
};

/// Of logits [n, V], f32: KL = sum of p * (log p - log q), p = softmax(reference), q = softmax(model), in
/// double.
Divergences divergences_of(Context& ctx, const Tensor& model, const Tensor& reference);

}  // namespace trireme::launch

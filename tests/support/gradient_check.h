// Finite differences against a layer's own backward pass.
#pragma once

#include <string>

#include "parallel/module/layer.h"

namespace trireme::test {

/// Checks the gradient of every block of `layer` and of x (where defined) along random directions, for the
/// scalar sum(output * r) with a fixed random r, or the micro-batch's loss where the layer ends in one. f32.
/// Weights must be set already.
void check_gradients(Context& ctx, Layer& layer, const MicroBatch& micro_batch, const Tensor& x);

/// Blocks `layer` collects, stored and filled with random values: gains around 1, everything else around 0
/// with deviation `std`.
class RandomParameters {
 public:
  RandomParameters(Context& ctx, Layer& layer, float std);
  ~RandomParameters();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace trireme::test

// Prunable: what of a model may become zero. Made by who knows the model (models/spec/prunable.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/tensor/shape.h"

namespace trireme {

/// A matrix [outputs, inputs] of the whole model, by its global name.
struct PrunableMatrix {
  std::string name;
  Shape shape;
};

/// What units have of a parameter: unit u its rows (dim 0) or columns (dim 1) [u * width, (u + 1) * width).
struct UnitPart {
  std::string parameter;
  int dim = 0;
  int64_t width = 1;
};

/// Units that become zero as a whole, such as the neurons of one feed-forward network. The ranks that hold a
/// part of it hold some of each.
struct UnitSet {
  std::string name;  ///< "layers.3.ffn"
  int64_t num_units = 0;
  std::vector<UnitPart> parts = {};
};

/// Equal on all ranks, in the order of the forward pass.
struct Prunable {
  std::vector<PrunableMatrix> matrices;
  std::vector<UnitSet> sets;  ///< where units are more than single weights
};

}  // namespace trireme

// DescribedLayer: the passes of a layer, with sizes in the place of numbers.
#pragma once

#include <memory>

#include "models/spec/layer_traces.h"

namespace trireme::traces {

class DescribedLayer {
 public:
  virtual ~DescribedLayer() = default;
  virtual Held forward(const Held& x) = 0;
  virtual Held backward_input(const Held& dy) = 0;
  virtual void backward_weight() = 0;
};

/// `recomputed`: as a whole, from its input. `scene` and `spec` outlive it.
std::unique_ptr<DescribedLayer> described_block(const Scene& scene, const BlockSpec& spec, bool recomputed);

}  // namespace trireme::traces

#include "parallel/pipeline/tied_weights.h"

namespace trireme {

TiedWeights::TiedWeights(Communicator& pipeline, ParameterBlock* block)
    : block_(block), ends_(pipeline.split(block != nullptr ? 1 : 0, pipeline.rank(), "tied-weights")) {
  TRIREME_CHECK(block == nullptr || ends_->size() == 2, "{} stages hold the tied weights", ends_->size());
}

void TiedWeights::sum(Context& ctx) {
  if (block_ != nullptr && block_->gradient) ends_->all_reduce(ctx.stream(), block_->gradient);
}

}  // namespace trireme

#include "parallel/module/model_part.h"

namespace trireme {

std::vector<ParameterBlock*> ModelPart::blocks() const {
  std::vector<ParameterBlock*> all;
  for (const Stage& stage : chunks) {
    const auto blocks = stage.blocks();
    all.insert(all.end(), blocks.begin(), blocks.end());
  }
  return all;
}

std::vector<LayerStatistics*> ModelPart::statistics() const {
  std::vector<LayerStatistics*> all;
  for (const Stage& stage : chunks) {
    const auto some = stage.statistics();
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

std::vector<RouterBalance*> ModelPart::routers() const {
  std::vector<RouterBalance*> all;
  for (LayerStatistics* s : statistics()) {
    if (s->kind == StatisticsKind::router) all.push_back(static_cast<RouterBalance*>(s));
  }
  return all;
}

std::span<const ParameterView> ModelPart::parameters(size_t chunk) const {
  const auto num_parameters = [&](size_t c) {
    size_t count = 0;
    for (const ParameterBlock* block : chunks[c].blocks()) count += block->members.size();
    return count;
  };
  size_t begin = 0;
  for (size_t c = 0; c < chunk; ++c) begin += num_parameters(c);
  return std::span(storage->parameters()).subspan(begin, num_parameters(chunk));
}

}  // namespace trireme

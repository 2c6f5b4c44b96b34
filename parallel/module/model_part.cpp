#include "parallel/module/model_part.h"

#include "parallel/module/distinct_blocks.h"

namespace trireme {

std::vector<ParameterBlock*> ModelPart::blocks() const {
  std::vector<ParameterBlock*> all;
  for (const Stage& stage : chunks) append_new(all, stage.blocks());
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
  size_t begin = 0, end = 0;
  std::vector<ParameterBlock*> known;
  for (size_t c = 0; c <= chunk; ++c) {
    const size_t num_known = known.size();
    append_new(known, chunks[c].blocks());
    begin = end;
    for (size_t i = num_known; i < known.size(); ++i) end += known[i]->members.size();
  }
  return std::span(storage->parameters()).subspan(begin, end - begin);
}

}  // namespace trireme

#include "models/families/presets.h"

#include <vector>

#include "models/families/table.h"

namespace trireme {

std::span<const Preset> presets() {
  static const std::vector<Preset> all = [] {
    std::vector<Preset> list;
    const auto append = [&](std::vector<Preset> more) { list.insert(list.end(), more.begin(), more.end()); };
    for (const Family& family : families()) append(family.presets());
    append(mixture_presets());
    append(edge_presets());
    return list;
  }();
  return all;
}

const Preset* find_preset(std::string_view name) {
  for (const Preset& preset : presets()) {
    if (preset.config.name == name) return &preset;
  }
  return nullptr;
}

}  // namespace trireme

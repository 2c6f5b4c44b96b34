#include "launch/cli/options/former_names.h"

#include <algorithm>

namespace trireme::launch {

std::span<const FormerName> former_names() {
  static constexpr FormerName kNames[] = {{"model.load", "model.init-from"}};
  return kNames;
}

std::string_view todays_name(std::string_view name) {
  const auto names = former_names();
  const auto found = std::ranges::find(names, name, &FormerName::name);
  return found == names.end() ? std::string_view() : found->key;
}

}  // namespace trireme::launch

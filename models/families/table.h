// The table of families, one entry per file.
#pragma once

#include "models/config/kinds.h"
#include "models/families/family.h"

namespace trireme {

#define TRIREME_DECLARE_FAMILY(name) Family name##_family();
TRIREME_FAMILIES(TRIREME_DECLARE_FAMILY)
#undef TRIREME_DECLARE_FAMILY

/// Mixtures of experts, of several families.
std::vector<Preset> mixture_presets();
/// Models for small devices.
std::vector<Preset> edge_presets();

}  // namespace trireme

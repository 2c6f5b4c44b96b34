// How fast this machine reads memory: the bound of whatever reads much and computes little.
#pragma once

#include "runtime/device/context.h"

namespace trireme::ops {

/// Bytes/s at which the context's threads together read memory of the host that no cache holds, the best of
/// several passes within about half a second. Takes 512 MiB.
double measure_read_rate(Context& ctx);

}  // namespace trireme::ops

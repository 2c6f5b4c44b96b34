// Random tensors that do not depend on the layout.
#pragma once

#include <string_view>

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// t (f32) = mean + std * normal numbers. t is the block of a global tensor of shape `global` that begins at
/// `offset` (one entry a dim, t's own shape is the extent). Element g of the global tensor depends on (seed,
/// name, g) alone: it is philox_normal4(stream_key(seed, name), g / 4, 0)[g % 4], the same bits on every
/// machine.
void fill_normal(Context& ctx, const Tensor& t, uint64_t seed, std::string_view name, const Shape& global,
                 const Shape& offset, float mean, float std);
TRIREME_OP_BODIES(fill_normal, Context& ctx, const Tensor& t, uint64_t seed, std::string_view name,
                  const Shape& global, const Shape& offset, float mean, float std)

}  // namespace trireme::ops

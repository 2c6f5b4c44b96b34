// Random numbers that do not depend on the layout.
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

struct JitterOptions {
  float eps = 0;             ///< in [0, 1)
  uint64_t key = 0;          ///< of a stream (stream_key)
  int64_t first_sample = 0;  ///< the sample of row 0
  int64_t rows_per_sample = 1;
};

/// y[n,:] = x[n,:] * uniform numbers in (1 - eps, 1 + eps), for the rows [first_row, first_row + N) of some
/// samples: row r is of sample first_sample + r / rows_per_sample, at its place positions[r] (i32, of rows
/// from 0 on). The factor at column c is 1 + eps (2 u - 1), where u is uniform_from_bits of word c % 4 of
/// philox4x32(key, position * 2^32 + c / 4, sample): the same in whatever parts the rows come. x[N,C] and y,
/// which may be x, of one compute type.
void jitter(Context& ctx, const JitterOptions& options, const Tensor& positions, int64_t first_row,
            const Tensor& x, const Tensor& y);
TRIREME_OP_BODIES(jitter, Context& ctx, const JitterOptions& options, const Tensor& positions,
                  int64_t first_row, const Tensor& x, const Tensor& y)

}  // namespace trireme::ops

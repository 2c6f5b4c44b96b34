// The rows around the chunks of a context-parallel rank, which other ranks hold.
#pragma once

#include "parallel/context_parallel/context_parallel.h"

namespace trireme {

/// `held` [batch * length, width]: of each sequence the two chunks of this rank (ContextShare), one after the
/// other, each of `count` rows or more. Gives [batch * 2 * count, width]: for each of them the `count` rows
/// before it in the sequence; zeros where there are none. Ranks that hold neighbouring chunks give each other
/// theirs. Every rank of the group calls it.
Tensor rows_before_chunks(Context& ctx, const ContextParallel& context, int64_t batch, const Tensor& held,
                          int64_t count);

/// The way back: `sums` [batch * 2 * count, width], laid out as the result above, is what each chunk has for
/// the rows before it. Gives what the chunks behind this rank's have for the last `count` rows of each.
Tensor sums_behind_chunks(Context& ctx, const ContextParallel& context, int64_t batch, const Tensor& sums);

}  // namespace trireme

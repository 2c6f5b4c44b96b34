// Builds this rank's micro-batch from token ids.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "parallel/context_parallel/context_parallel.h"
#include "parallel/module/micro_batch.h"

namespace trireme {

/// This rank's share of `batch` sequences of `seq_len` tokens, with positions 0.. in each sequence. The
/// vectors have batch * seq_len entries on every rank; targets may be empty. The loss is the mean over
/// targets by `weights`, finite and at least 0 (0: the target is ignored); empty: all targets weigh the same.
/// With `end_of_text` the documents that it ends do not see each other: positions restart in each
/// (separate_documents()).
MicroBatch make_micro_batch(Context& ctx, int64_t batch, int64_t seq_len, std::span<const int32_t> tokens,
                            std::span<const int32_t> targets, const ContextShare& share = {},
                            std::optional<int32_t> end_of_text = std::nullopt,
                            std::span<const float> weights = {});

}  // namespace trireme

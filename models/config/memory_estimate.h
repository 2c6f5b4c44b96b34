// Predicted bytes of a rank, in the allocator's categories.
#pragma once

#include <array>
#include <cstdint>

#include "models/config/model_config.h"
#include "parallel/plan/parallel_plan.h"
#include "parallel/plan/state_division.h"
#include "runtime/device/allocator.h"
#include "runtime/tensor/dtype.h"

namespace trireme {

struct MemoryEstimate {
  std::array<int64_t, kNumMemoryCategories> bytes{};

  int64_t& operator[](MemoryCategory category) { return bytes[static_cast<size_t>(category)]; }
  int64_t operator[](MemoryCategory category) const { return bytes[static_cast<size_t>(category)]; }
  int64_t total() const;
};

/// The peak of a rank that trains micro-batches of `micro_batch` x `seq_len` tokens. With e = bytes of
/// `precision`, C = hidden, H / K = query / key-value heads, D = head size, F = feed-forward, V = vocabulary:
///
///   weights, gradients, optimizer   state_bytes(), with or without masters; where ranks divide them, the
///   optimizer's state (from ZeRO
///            stage 1) and gradients (from stage 2) by their number. Stage 2 adds what lies in buckets that
///            are filled or reduced: the widest layer, two buckets, and a tied head's table, which the
///            backward pass fills from its first layer to its last; never more than all gradients. With
///            accumulation all of them are in buckets. Stage 3 divides the matrices' weights and adds those
///            of the two widest neighbours among embedding, layers and head; its buckets hold no more than a
///            layer.
///   activations  tokens * (layers * layer + last + work)
///     layer  saved for the backward pass: inputs and outputs of both norms 4C, query, key and value (H +
///     2K)D,
///            attention's output HD, feed-forward 2F (GELU: before and after) or 3F (SwiGLU: gate, up,
///            product), all * e, and in f32 a mean and a scale a norm and the log-sum-exp of each head: (4 +
///            H) * 4
///     last   input and output of the final norm 2C, and the logits V, which their gradient overwrites, all *
///     e work   the widest gradients alive at once in one layer: (2C + 2F) * e
///   Over t tensor ranks H, K (at least one head), F, V and the matrices' state are divided by t, under
///   sequence parallelism the C and the norms' statistics too, except in `work`. Over n context ranks
///   `tokens` is divided by n. Other degrees change nothing.
///   A block with experts keeps, in place of 2F or 3F, the k rows of a token before and behind its experts
///   and what these keep, as if the load were even; a tensor rank holds its share of every expert, an expert
///   rank its share of the experts. buffers      ids and targets of the micro-batch, 4 bytes each; with
///   context ranks, in the backward pass of attention, two blocks of keys and values and two of their f32
///   gradients (one at hand, one under way) and an f32 sum for the queries: (4 K (e + 4) + 4 H) D a token
MemoryEstimate estimate_memory(const ModelConfig& config, DType precision, int64_t micro_batch,
                               int64_t seq_len, const ParallelPlan& plan = {},
                               const StateDivision& division = {}, bool accumulates = false);

}  // namespace trireme

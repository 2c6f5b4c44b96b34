// What one rank holds of a model's widths and of a micro-batch's rows.
#pragma once

#include <algorithm>

#include "models/cost/memory_estimate.h"
#include "models/spec/memory_trace.h"

namespace trireme {

/// The largest share of any rank.
struct RankShape {
  int64_t heads, kv_heads, head_dim, ffn, vocab;
  int64_t rows;        ///< tokens of a micro-batch between the parallel layers
  int64_t outer_rows;  ///< and outside: a share of them under sequence parallelism

  explicit RankShape(const MemoryInputs& in)
      : heads(share(in.model.num_heads, in.plan.tensor)),
        kv_heads(std::max<int64_t>(1, in.model.num_kv_heads / in.plan.tensor)),
        head_dim(in.model.head_dim()),
        ffn(share(in.model.ffn_size, in.plan.tensor)),
        vocab(share(in.model.vocab_size, in.plan.tensor)),
        rows(share(in.micro_batch * in.seq_len, in.plan.context)),
        outer_rows(share(rows, in.plan.sequence ? in.plan.tensor : 1)) {}

  static int64_t share(int64_t n, int64_t ranks) { return (n + ranks - 1) / ranks; }
  int64_t qkv() const { return (heads + 2 * kv_heads) * head_dim; }
};

}  // namespace trireme

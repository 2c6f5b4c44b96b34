// RankSizes: the sizes of a rank's shards of widths and rows.
#pragma once

#include "models/config/loss_config.h"
#include "models/spec/model_spec.h"
#include "parallel/plan/parallel_plan.h"
#include "runtime/tensor/dtype.h"

namespace trireme {

/// How even the choices of tokens are spread over the ranks that hold experts.
enum class ExpertLoad : uint8_t { even, worst };

/// What of a run, beside the model, the memory of its layers depends on.
struct LayerConditions {
  DType precision = DType::f32;
  int64_t micro_batch = 1, seq_len = 1;
  ParallelPlan plan;
  bool recomputes_core = false;  ///< of attention
  bool float8 = false;           ///< linear layers of the blocks multiply in fp8
  bool quantizes = true;         ///< and are trained through the model's quantization
  LossConfig loss = {};
  int64_t kept_streams = 0;         ///< for exits (models/config/exit_config.h)
  bool separate_documents = false;  ///< attention is told first keys
  int threads = 1;
  int64_t attention_workspace = 0;  ///< the most bytes that cuDNN's attention may take; 0: it serves nothing
  bool deterministic_attention = true;
  ExpertLoad load = ExpertLoad::even;
};

/// The largest share of any rank.
struct RankSizes {
  DType type;
  int64_t hidden;
  int64_t batch;       ///< sequences of a micro-batch
  int64_t length;      ///< tokens of each that a rank holds
  int64_t rows;        ///< tokens of a micro-batch between the parallel layers
  int64_t outer_rows;  ///< and outside: a share of them under sequence parallelism
  bool shards_rows;    ///< whether sequence parallelism gathers and scatters them
  int64_t tensor, context;
  int64_t tensor_chunks;
  int threads;
  bool float8;
  int64_t code_bits;  ///< of a weight that is trained through its quantization; 0: none is
  bool learns_scales;

  RankSizes(const ModelSpec& model, const LayerConditions& conditions);
  static int64_t share(int64_t n, int64_t ranks) { return (n + ranks - 1) / ranks; }
};

/// Of one block's attention.
struct HeadSizes {
  int64_t heads, kv_heads, head_dim;
  HeadSizes(const AttentionSpec& attention, const LayerConditions& conditions);
  int64_t queries() const { return heads * head_dim; }
  int64_t keys() const { return kv_heads * head_dim; }
  int64_t qkv() const { return queries() + 2 * keys(); }
};

/// Of one block's mixture: rows of tokens that a rank passes to experts, sends to them, and receives for
/// those that it holds. With an even load every rank receives as many as it sends. The worst that can be:
/// every token of the ranks that share the experts chooses as many of this rank's as it may, and as fit.
struct MixtureSizes {
  int64_t passed, sent, received;
  int64_t held, width;  ///< experts of the rank, and its share of their width
  bool reorders;        ///< rows arrive rank by rank, and go to their experts through a tensor more
  int64_t num_chunks;
  MixtureSizes(const MixtureSpec& mixture, const LayerConditions& conditions);
};

}  // namespace trireme

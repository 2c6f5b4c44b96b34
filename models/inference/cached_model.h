// CachedModel: forward passes of a Transformer over flat batches of tokens whose keys and values are cached.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "models/transformer/transformer.h"
#include "parallel/plan/parallel_context.h"
#include "runtime/ops/attention/paged_attention.h"

namespace trireme {

struct CacheOptions {
  int64_t num_blocks = 0;     ///< blocks of the cache, on every rank
  int64_t block_tokens = 32;  ///< tokens of a block; a multiple of 16
  ops::CacheType type = ops::CacheType::plain;
};

/// Some tokens of one sequence, which follow those that its blocks hold already.
struct SequenceChunk {
  std::span<const int32_t> tokens;  ///< at places [start, start + tokens.size())
  int64_t start = 0;
  std::span<const int32_t> blocks;  ///< numbers of the blocks of places [0, start + tokens.size())
  int64_t num_logits = 0;           ///< of so many of the last tokens logits are asked for
};

class CachedModel {
 public:
  /// Memory for keys and values of this rank's layers and heads. `parallel` and `model` outlive it; context
  /// parallelism has to be 1, else UserError (usage). All ranks of a replica, and of those that it runs in
  /// lockstep with (ZeRO 3, experts), make one with equal options.
  CachedModel(Context& ctx, const ParallelContext& parallel, Transformer& model, const CacheOptions& options);

  /// Logits [n, V], f32, of the rows that were asked for, in the order of the chunks, on every rank; all
  /// ranks call it with equal chunks. Bits of a row depend neither on the other chunks nor on how its
  /// sequence was divided in chunks and blocks. Places reach at most TransformerOptions::max_seq_len.
  Tensor logits(Context& ctx, std::span<const SequenceChunk> chunks);
  /// Copies whole blocks, on all layers.
  void copy_blocks(Context& ctx, const std::vector<int32_t>& from, const std::vector<int32_t>& to);

  const CacheOptions& options() const { return options_; }
  const Transformer& model() const { return model_; }
  /// Bytes of one block on this rank, all its layers.
  int64_t block_bytes() const { return block_bytes_; }

 private:
  /// What a pass reads, laid out row by row; kept so that no pass takes memory for it anew.
  struct HostRows {
    std::vector<int32_t> tokens, positions, sequences, logit_rows, tables;
    int64_t table_width = 0;

    void clear();
  };
  void lay_out(std::span<const SequenceChunk> chunks);
  void expect(const SequenceChunk& chunk) const;
  TokenBatch batch(Context& ctx);

  Transformer& model_;
  CacheOptions options_;
  int64_t block_bytes_ = 0;
  HostRows host_;
  std::shared_ptr<PagedBatch> paged_;  // its blocks by number of block of the model
};

}  // namespace trireme

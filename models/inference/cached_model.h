// CachedModel: forward passes of a Transformer over flat batches of tokens whose keys and values are cached.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "models/inference/first_rank.h"
#include "models/transformer/transformer.h"
#include "parallel/plan/parallel_context.h"
#include "runtime/ops/attention/paged_attention.h"

namespace trireme {

/// When a row goes through no more blocks (CALM, Schuster et al., arXiv 2207.07061, softmax response): at the
/// first exit at which the head gives its likeliest token a probability above `confidence`, over the model's
/// whole vocabulary, before any filter of sampling. The keys and values of the blocks behind are those that
/// they make of the row's stream at the exit (state propagation, section 3.2), so that later rows find some.
struct ExitRule {
  std::vector<int64_t> exits = {};  ///< after so many blocks, rising, below all
  double confidence = 0;            ///< 0: every row goes through all blocks. 1: too, since none is above it
};

struct CacheOptions {
  int64_t num_blocks = 0;     ///< blocks of the cache, on every rank
  int64_t block_tokens = 32;  ///< tokens of a block; a multiple of 16
  ops::CacheType type = ops::CacheType::plain;
  ExitRule exit = {};
};

/// Of the rows that may leave, in all passes.
struct ExitCounts {
  int64_t rows = 0;
  int64_t blocks = 0;  ///< that they went through

  double mean_blocks() const {
    return rows > 0 ? static_cast<double>(blocks) / static_cast<double>(rows) : 0;
  }
};

/// Some tokens of one sequence, which follow those that its blocks hold already.
struct SequenceChunk {
  std::span<const int32_t> tokens;  ///< at places [start, start + tokens.size())
  int64_t start = 0;
  /// Numbers of the blocks of places [0, start + tokens.size()); kNoBlock where no layer's tokens see any.
  std::span<const int32_t> blocks;
  int64_t num_logits = 0;   ///< of so many of the last tokens logits are asked for
  int64_t num_leaving = 0;  ///< so many of the last tokens may leave by the model's ExitRule
};

class CachedModel {
 public:
  /// Memory for keys and values of this rank's layers and heads. `parallel` and `model` outlive it; context
  /// parallelism has to be 1, else UserError (usage); with an ExitRule pipeline parallelism too, and exits
  /// have to be below the model's number of blocks. All ranks of a replica, and of those that it runs in
  /// lockstep with (ZeRO 3, experts), make one with equal options.
  CachedModel(Context& ctx, const ParallelContext& parallel, Transformer& model, const CacheOptions& options);

  /// Logits [n, V], f32, of the rows that were asked for, in the order of the chunks, on every rank; all
  /// ranks call it with equal chunks. Bits of a row depend neither on the other chunks nor on how its
  /// sequence was divided in chunks and blocks. Places reach at most TransformerOptions::max_seq_len.
  Tensor logits(Context& ctx, std::span<const SequenceChunk> chunks);
  /// A pass in parts. Streams [rows, C] of all tokens of the chunks behind the first `last` blocks, from
  /// those behind the first `first` (0: of none, x is undefined); their keys and values of these blocks are
  /// cached. Bits are those of one pass. No rule counts. Not over pipeline stages (CHECK).
  Tensor streams(Context& ctx, std::span<const SequenceChunk> chunks, const Tensor& x, int64_t first,
                 int64_t last);
  /// Caches what blocks [first, last) make of x, as if it was the input of each.
  void store(Context& ctx, std::span<const SequenceChunk> chunks, const Tensor& x, int64_t first,
             int64_t last);
  /// The head's logits [rows, V], f32, of streams behind the last block or at an exit.
  Tensor head(Context& ctx, const Tensor& x);

  const ExitCounts& exit_counts() const { return exit_counts_; }
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
  void expect_exits(const ParallelContext& parallel) const;
  friend class ExitPass;

  Transformer& model_;
  CacheOptions options_;
  int64_t block_bytes_ = 0;
  HostRows host_;
  FirstRank first_;  // says who leaves
  ExitCounts exit_counts_;
  std::shared_ptr<PagedBatch> paged_;  // its blocks by number of block of the model
};

}  // namespace trireme

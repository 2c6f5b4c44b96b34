// TokenBatch and MicroBatch: the samples of one forward pass: model inputs, and what training adds.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "parallel/module/teacher_rows.h"
#include "runtime/ops/attention/paged_attention.h"
#include "runtime/tensor/tensor.h"

namespace trireme {

/// What a flat batch of tokens of many sequences has beside its tokens, when their keys and values lie in a
/// cache (inference). Such a TokenBatch has batch 1 and seq_len rows, and is not for training.
struct PagedBatch {
  ops::PagedRows rows;
  std::vector<ops::KeyValueBlocks> blocks;  ///< of the model's block i; undefined where another rank has it
  /// Of block i where that is a convolution, in the place of these: [blocks, block_tokens, width].
  std::vector<Tensor> inputs;
  Tensor logit_rows;  ///< i32 [n], rising: the rows whose logits are asked for
};

/// batch sequences of which this rank holds seq_len tokens each, row-major: row b * seq_len + t. All that a
/// model needs to give logits.
struct TokenBatch {
  int64_t batch = 0;
  int64_t seq_len = 0;
  int64_t first_sample = 0;  ///< number of the first sample in the stream of samples; the others follow it
  int context_parts = 1;     ///< context-parallel ranks that share the sequences; 1: each holds them whole
  Tensor tokens;             ///< [rows] i32
  Tensor positions;          ///< [rows] i32: place of the token in its sequence, or in its document
  /// Boundaries within sequences: [batch, seq_len] i32, for each row the first place of its (whole) sequence
  /// that it attends to, which is where its document begins there. Absent: it attends to all before it.
  Tensor first_key;
  /// The same on the host where context-parallel ranks share sequences, for the first place of each of the
  /// chunks that they hold (ContextShare): [batch, 2 * context_parts]. May be empty.
  std::vector<int32_t> chunk_first_keys;
  Tensor places;  ///< [rows] i32: place of the token in its sequence; absent where positions are that
  std::shared_ptr<const PagedBatch> paged = nullptr;  ///< null: each sequence attends to itself alone
  bool training = true;                               ///< false: nothing is kept for a backward pass
  /// As rows of a paged batch are these depend on no others: tensor-parallel ranks hold all of them, and no
  /// expert drops one. Not for training.
  bool like_paged = false;

  int64_t rows() const { return batch * seq_len; }
  const Tensor& places_in_sequence() const { return places ? places : positions; }
};

/// A TokenBatch with targets and sums for training.
struct MicroBatch : TokenBatch {
  uint64_t seed = 0;  ///< random seed for its tokens (router jitter)
  Tensor targets;  ///< [rows] i32; ops::kIgnoredTarget does not count. Absent when only logits are asked for
  Tensor target_weights;  ///< [rows] f32, at least 0: the weight of each target's loss; absent: 1
  double weight = 0;      ///< sum of the weights of this rank's targets that count
  std::vector<double> weight_of_sequence;  ///< of each sequence, on all context-parallel ranks; empty where
                                           ///< targets are absent
  Tensor loss_sum;   ///< [1] f64: the last stage adds the sum of the rows' cross-entropies. May be absent
  Tensor added_sum;  ///< [1] f64: and of what the objective adds to them. May be absent
  std::shared_ptr<const TeacherRows> teacher = nullptr;  ///< of distillation; null: none
  float gradient_scale = 1;                              ///< factor on the loss in the backward pass
};

}  // namespace trireme

// The samples that go through a stage at once.
#pragma once

#include <vector>

#include "runtime/tensor/tensor.h"

namespace trireme {

/// batch sequences of which this rank holds seq_len tokens each, row-major: row b * seq_len + t.
struct MicroBatch {
  int64_t batch = 0;
  int64_t seq_len = 0;
  int64_t first_sample = 0;  ///< number of the first sample in the stream of samples; the others follow it
  uint64_t seed = 0;         ///< of what training draws at random for its tokens
  int context_parts = 1;     ///< context ranks that share the sequences; 1: each holds them whole
  Tensor tokens;             ///< [rows] i32
  Tensor targets;  ///< [rows] i32; ops::kIgnoredTarget does not count. Absent when only logits are asked for
  int64_t num_targets = 0;                   ///< targets that count
  std::vector<int64_t> targets_of_sequence;  ///< targets of each sequence that count, on all context ranks;
                                             ///< empty where targets are absent
  Tensor positions;                          ///< [rows] i32: place of the token in its sequence
  Tensor loss_sum;           ///< [1] f64: the last stage adds the sum of the rows' losses. May be absent
  bool training = true;      ///< false: nothing is kept for a backward pass
  float gradient_scale = 1;  ///< factor on the loss in the backward pass

  int64_t rows() const { return batch * seq_len; }
};

}  // namespace trireme

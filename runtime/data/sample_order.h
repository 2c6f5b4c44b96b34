// Which tokens a training sample holds: a pure function of (seed, epoch, sample), whatever the layout.
#pragma once

#include <cstdint>
#include <string>

namespace trireme {

/// A bijection of [0, size) that looks random: a Feistel network whose round function is Philox, walked until
/// it lands inside (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002). No memory, O(1) time.
class Permutation {
 public:
  /// Different (seed, tweak) give unrelated orders.
  Permutation(uint64_t seed, uint64_t tweak, int64_t size);
  int64_t operator()(int64_t index) const;

 private:
  uint64_t encipher(uint64_t value) const;

  uint64_t seed_, tweak_;
  int64_t size_;
  int half_bits_;
};

/// Samples are windows of seq_len + 1 tokens at a stride of seq_len, so that every token of a window but the
/// first is a target. An epoch visits each window once.
class SampleOrder {
 public:
  /// For training: windows shift by an offset in [0, seq_len) drawn for each epoch, so that their bounds
  /// vary, and are visited in random order. Up to 2 * seq_len tokens at the ends are left out of an epoch.
  /// UserError(bad_input) naming `name` when it has fewer than seq_len + 1 tokens.
  static SampleOrder shuffled(uint64_t seed, int64_t num_tokens, int64_t seq_len, const std::string& name);
  /// For validation: from the first token on, in order.
  static SampleOrder sequential(int64_t num_tokens, int64_t seq_len, const std::string& name);

  int64_t seq_len() const { return seq_len_; }
  /// The same in every epoch; at least 1.
  int64_t samples_per_epoch() const { return samples_per_epoch_; }
  /// The position of the first token of a sample; epochs follow one another in `global_sample_index` (>= 0).
  int64_t position(int64_t global_sample_index) const;

 private:
  SampleOrder(bool is_shuffled, uint64_t seed, int64_t num_tokens, int64_t seq_len, const std::string& name);

  bool is_shuffled_;
  uint64_t seed_;
  int64_t seq_len_, samples_per_epoch_;
  int64_t num_offsets_;  // an epoch's offset is below this
};

}  // namespace trireme

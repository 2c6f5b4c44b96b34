// A row's few tokens in bits: sorted ids by Elias and Fano's split, or in as many bits as the vocabulary
// takes, and with them probabilities in 16 bits each, or counts of draws in as few as they need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "models/config/distill_config.h"

namespace trireme {

/// Bits from the lowest of each byte on.
class BitWriter {
 public:
  /// The lowest `count` (at most 32) bits of value.
  void put(uint64_t value, int count);
  /// `zeros` zeros and a one.
  void put_unary(int64_t zeros);
  /// Fills the last byte with zeros.
  std::vector<std::byte> take();

 private:
  std::vector<std::byte> bytes_;
  uint64_t pending_ = 0;
  int num_pending_ = 0;
};

class BitReader {
 public:
  explicit BitReader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  uint32_t get(int count);  ///< at most 32 bits
  int64_t get_unary();      ///< zeros before a one
  /// Whether it was asked for more than there is, which is zeros.
  bool is_over() const { return at_ > 8 * bytes_.size(); }
  /// Whether nothing but the filling of the last byte is left.
  bool is_at_end() const { return !is_over() && (at_ + 7) / 8 == bytes_.size(); }

 private:
  uint64_t peek() const;  // 57 bits or more

  std::span<const std::byte> bytes_;
  size_t at_ = 0;
};

/// What all rows of some files have in common.
struct TeacherCode {
  TeacherTokens kind = TeacherTokens::top_k;  ///< top_k or sampled
  int64_t num_tokens = 0;                     ///< k, or draws: most tokens of a row
  int64_t vocab_size = 0;                     ///< ids are below it

  bool has_rest() const { return kind == TeacherTokens::top_k && num_tokens < vocab_size; }
  /// Numbers of a row of ids and probabilities.
  int64_t width() const { return kind == TeacherTokens::top_k && !has_rest() ? vocab_size : num_tokens; }
};

/// A probability in 16 bits, and what it stands for: -log2 p in steps of 1/2048 up to 32, to 1.7e-4 of p; the
/// largest code is 0.
uint16_t code_of_probability(double p);
double probability_of_code(uint16_t code);

/// Adds a row as RowTeacher has it: ids [k], none twice, -1 for none, in any order, and their probabilities.
/// With a rest 16 bits say what is left for it, so that a small one keeps its digits. A probability that is
/// no number in [0, 1], and an id beyond the vocabulary, are the caller's mistake (CHECK).
void encode_row(const TeacherCode& code, std::span<const int32_t> ids, std::span<const float> probabilities,
                BitWriter& to);

/// The next row, into ids and probabilities of code.width() elements: ids rise, -1 and 0 behind the last.
/// Probabilities of a row with a rest sum to one with it, others to one. False for what encode_row() did not
/// write; nothing is read or written out of bounds.
bool decode_row(const TeacherCode& code, BitReader& from, std::span<int32_t> ids,
                std::span<float> probabilities);

}  // namespace trireme

#include "runtime/data/sample_order.h"

#include <algorithm>
#include <bit>

#include "runtime/base/error.h"
#include "runtime/base/philox.h"

namespace trireme {
namespace {

constexpr int kRounds = 6;

}  // namespace

Permutation::Permutation(uint64_t seed, uint64_t tweak, int64_t size)
    : seed_(seed ^ hash_name("sample order")), tweak_(tweak), size_(size) {
  TRIREME_CHECK(size >= 1);
  const int bits = std::bit_width(static_cast<uint64_t>(size - 1));
  half_bits_ = std::max(1, (bits + 1) / 2);
}

uint64_t Permutation::encipher(uint64_t value) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t left = value >> half_bits_, right = value & mask;
  for (uint64_t round = 0; round < kRounds; ++round) {
    // Halves have at most 32 bits, so the round number has room above them.
    const auto noise = philox4x32(seed_, right | (round << 32), tweak_);
    left ^= noise[0] & mask;
    std::swap(left, right);
  }
  return (left << half_bits_) | right;
}

int64_t Permutation::operator()(int64_t index) const {
  TRIREME_CHECK(index >= 0 && index < size_, "{} of {}", index, size_);
  auto value = static_cast<uint64_t>(index);
  do {
    value = encipher(value);
  } while (value >= static_cast<uint64_t>(size_));
  return static_cast<int64_t>(value);
}

SampleOrder SampleOrder::shuffled(uint64_t seed, int64_t num_tokens, int64_t seq_len,
                                  const std::string& name) {
  return {true, seed, num_tokens, seq_len, name};
}

SampleOrder SampleOrder::sequential(int64_t num_tokens, int64_t seq_len, const std::string& name) {
  return {false, 0, num_tokens, seq_len, name};
}

SampleOrder::SampleOrder(bool is_shuffled, uint64_t seed, int64_t num_tokens, int64_t seq_len,
                         const std::string& name)
    : is_shuffled_(is_shuffled), seed_(seed), seq_len_(seq_len) {
  TRIREME_CHECK(seq_len >= 1, "sequence length {}", seq_len);
  if (num_tokens <= seq_len) {
    throw_bad_input(
        "{} has {} tokens; a sequence length of {} needs at least {}. Use a longer text or a sequence "
        "length of at most {}",
        name, num_tokens, seq_len, seq_len + 1, num_tokens - 1);
  }
  // A shuffled epoch must have as many windows at the largest offset as at none.
  samples_per_epoch_ =
      is_shuffled ? std::max<int64_t>(1, (num_tokens - seq_len) / seq_len) : (num_tokens - 1) / seq_len;
  num_offsets_ = is_shuffled ? std::min(seq_len, num_tokens - samples_per_epoch_ * seq_len) : 1;
}

int64_t SampleOrder::position(int64_t global_sample_index) const {
  TRIREME_CHECK(global_sample_index >= 0, "sample {}", global_sample_index);
  const int64_t epoch = global_sample_index / samples_per_epoch_,
                sample = global_sample_index % samples_per_epoch_;
  if (!is_shuffled_) return sample * seq_len_;
  const auto bits = philox4x32(seed_ ^ hash_name("epoch offset"), static_cast<uint64_t>(epoch), 0);
  const uint64_t draw = (uint64_t{bits[0]} << 32) | bits[1];
  const auto offset = static_cast<int64_t>(draw % static_cast<uint64_t>(num_offsets_));
  return offset + Permutation(seed_, static_cast<uint64_t>(epoch), samples_per_epoch_)(sample) * seq_len_;
}

}  // namespace trireme

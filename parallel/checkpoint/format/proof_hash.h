// The proof hash: one number for the whole state of a training, the same in every layout and on every path by
// which it is saved and loaded.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "parallel/checkpoint/format/slice.h"
#include "runtime/ops/element_hash.h"

namespace trireme {

/// The sum modulo 2^128, over the elements of all tensors, of a mix of (name, index in the whole tensor,
/// bits) (ops::hash_elements). Each element has to be counted by one rank.
class ProofHash {
 public:
  ProofHash() = default;
  explicit ProofHash(const ops::Sum128& sum) : sum_(sum) {}

  /// Counts elements of a slice: `bytes` are its packed elements from number `begin` on.
  void add(const Slice& slice, int64_t begin, std::span<const std::byte> bytes);
  /// The same, while they are copied to `to`.
  void add_copied(const Slice& slice, int64_t begin, std::span<const std::byte> bytes, std::byte* to);
  ProofHash& operator+=(const ProofHash& other) {
    sum_ += other.sum_;
    return *this;
  }
  const ops::Sum128& sum() const { return sum_; }

  friend bool operator==(const ProofHash&, const ProofHash&) = default;

 private:
  ops::Sum128 sum_;
};

/// 32 hexadecimal digits.
std::string to_string(const ProofHash& proof);

}  // namespace trireme

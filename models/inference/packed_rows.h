// PackedRows: rows of several stored matrices one below the other, as packing asks for them.
#pragma once

#include <cstdint>
#include <exception>
#include <mutex>
#include <span>
#include <vector>

#include "models/inference/packed_member.h"
#include "parallel/checkpoint/weights/weight_source.h"
#include "runtime/device/context.h"

namespace trireme {

class PackedRows {
 public:
  /// All of `members` have one spec; they and the source outlive it. Matrices whose rows are spread over the
  /// file are read here, whole, on the context's threads; their errors are those of read().
  PackedRows(Context& ctx, const WeightSource& source, std::span<const PackedMember> members);

  int64_t size() const { return begins_.back(); }
  /// Whether the stored bytes of all rows are in the format that they are packed in.
  bool are_as_stored() const;

  /// From several threads, which nothing may be thrown on: what read() meets rethrow() throws, and the values
  /// are zeros.
  const std::byte* stored(int64_t row) const;
  void read(int64_t row, std::span<float> values);
  void rethrow() const;

 private:
  struct Place {
    size_t member;
    int64_t row;
  };
  Place place_of(int64_t row) const;
  void read_member(const Place& place, std::span<float> values) const;
  void read_whole(Context& ctx, size_t member);
  template <class Attempt>
  bool attempt(const Attempt& attempt) noexcept;

  const WeightSource& source_;
  std::span<const PackedMember> members_;
  std::vector<int64_t> begins_;            // of members, and the number of rows
  std::vector<std::vector<float>> whole_;  // of members, where they were read at once
  std::mutex mutex_;
  std::exception_ptr error_;
};

}  // namespace trireme

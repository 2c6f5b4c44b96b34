// One call of a communicator as data: what backends carry out, and what ranks compare.
#pragma once

#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/comm/record/call_ring.h"

namespace trireme {

struct CommCall {
  CommKind kind;
  Tensor in = {};   ///< what is read; equal to `out` for operations in place
  Tensor out = {};  ///< what is written; both are undefined for a barrier and a split
  ReduceOp op = ReduceOp::sum;
  int peer = -1;                             ///< root, destination or source
  std::string label = {};                    ///< of a message
  std::vector<int64_t> send_counts = {};     ///< of both kinds of all-to-all: elements, one a rank
  std::vector<int64_t> receive_counts = {};  ///< as send_counts

  /// What the backend tells when it begins the call and, where wait() does not mean that it is done, when it
  /// has ended.
  RecordedCall recorded = {};
  CallCheck check = CallCheck::backend;

  bool is_point_to_point() const { return trireme::is_point_to_point(kind); }
};

/// What a rank says of a collective: plain integers, so that it can be sent. Equal are those of which the
/// first part is, up to the layer; -1 there: it does not matter.
struct CommSignature {
  int64_t kind = 0;
  int64_t dtype = -1;
  int64_t op = -1;
  int64_t root = -1;
  int64_t count = -1;  ///< elements passed in by each rank; -1 where ranks may differ
  int64_t step = -1, phase = -1, micro_batch = -1, layer = -1;  ///< as far as CommCall::check compares them
  /// Of the recorded call, for messages; -1 in a call that is not recorded. The rank is one of the world.
  int64_t rank = -1, sequence = -1, at_step = -1, at_phase = -1, at_micro_batch = -1, at_layer = -1;

  friend bool operator==(const CommSignature& a, const CommSignature& b) {
    const auto compared = [](const CommSignature& s) {
      return std::tie(s.kind, s.dtype, s.op, s.root, s.count, s.step, s.phase, s.micro_batch, s.layer);
    };
    return compared(a) == compared(b);
  }
};
CommSignature signature_of(const CommCall& call);
/// "all_reduce(sum, f32, 1000 elements) in layer 11, backward of step 7, micro-batch 2", the second part of
/// recorded calls.
std::string to_string(const CommSignature& signature);

/// What a message says of itself ahead of its contents; as plain bytes, so that it can be sent.
struct MessageHeader {
  int64_t bytes = 0;
  char label[24] = {};  ///< cut to 23 characters

  friend bool operator==(const MessageHeader&, const MessageHeader&) = default;
};
MessageHeader header_of(const CommCall& call);
/// Empty when what was sent is what is awaited; otherwise a sentence that names the communicator and both.
std::string describe_mismatch(const std::string& name, int from, const MessageHeader& sent, int to,
                              const MessageHeader& awaited);

/// Empty when all ranks called the same; otherwise a sentence that names the communicator and who called
/// what.
std::string describe_mismatch(const std::string& name, std::span<const CommSignature> by_rank);
/// The same for the counts of an all-to-all: counts[s * size + r] is what s sends to r, expected[r * size +
/// s] what r awaits from s.
std::string describe_count_mismatch(const std::string& name, std::span<const int64_t> counts,
                                    std::span<const int64_t> expected, int size);

/// Where element `element` of a tensor begins.
inline std::byte* bytes_of(const Tensor& t, int64_t element = 0) {
  return static_cast<std::byte*>(t.raw()) + element * static_cast<int64_t>(size_of(t.dtype()));
}

}  // namespace trireme

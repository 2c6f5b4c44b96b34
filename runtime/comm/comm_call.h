// One call of a communicator as data: what backends carry out, and what ranks compare.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace trireme {

enum class CommKind : uint8_t {
  all_reduce,
  all_gather,
  reduce_scatter,
  broadcast,
  all_to_all,
  all_to_all_v,
  send,
  receive,
  barrier,
  split
};
std::string_view to_string(CommKind kind);

struct CommCall {
  CommKind kind;
  Tensor in = {};   ///< what is read; equal to `out` for operations in place
  Tensor out = {};  ///< what is written; both are undefined for a barrier and a split
  ReduceOp op = ReduceOp::sum;
  int peer = -1;                             ///< root, destination or source
  std::string label = {};                    ///< of a message
  std::vector<int64_t> send_counts = {};     ///< of both kinds of all-to-all: elements, one a rank
  std::vector<int64_t> receive_counts = {};  ///< as send_counts

  bool is_point_to_point() const { return kind == CommKind::send || kind == CommKind::receive; }
};

/// What has to be equal on all ranks of a collective: plain integers, so that it can be sent.
struct CommSignature {
  int64_t kind = 0;
  int64_t dtype = -1;
  int64_t op = -1;
  int64_t root = -1;
  int64_t count = -1;  ///< elements passed in by each rank; -1 where ranks may differ

  friend bool operator==(const CommSignature&, const CommSignature&) = default;
};
CommSignature signature_of(const CommCall& call);
/// "all_reduce(sum, f32, 1000 elements)".
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

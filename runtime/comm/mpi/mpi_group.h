// One MPI communicator and the operations on it. For files of this folder.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include <mpi.h>

#include "runtime/comm/comm_call.h"
#include "runtime/comm/mpi/mpi_communicator.h"
#include "runtime/comm/mpi/mpi_error.h"
#include "runtime/comm/mpi/mpi_progress.h"

namespace trireme {

/// Owned by the communicator and by all its operations under
/// way.
class MpiGroup {
 public:
  MpiGroup(MPI_Comm comm, std::string name, const MpiOptions& options);

  int rank() const { return rank_; }
  int size() const { return size_; }
  const std::string& name() const { return name_; }
  /// Of MPI_COMM_WORLD, in the order of the group.
  std::vector<int> world_ranks() const;
  void check(int code, const char* call) const { mpi::check(code, call, name_, rank_); }

  void collective(const CommCall& call);
  std::shared_ptr<MpiGroup> split(int color, int key, std::string name);
  /// Begins a send or receive: first of `header`, which stays where it is until then, and then of the
  /// message; where that is cut it is several requests, in order.
  std::vector<MPI_Request> post(const CommCall& call, MessageHeader& header);
  void free() noexcept;
  MpiProgress& progress() { return *progress_; }

 private:
  enum class Traffic { collective, message };
  struct Part {
    std::byte* data;
    int64_t bytes;
  };

  /// Calls f(offset, count) for pieces of [0, n) elements that one MPI call may carry; once at least.
  template <class F>
  void for_pieces(int64_t n, int64_t element, F&& f) const;
  /// The tag of a message or part of `bytes`. Open MPI's single-copy receive trusts the sender's length and
  /// writes past a shorter buffer: so that only equal lengths ever meet, the length is the tag. (Where an MPI
  /// has few tags, lengths share them; Open MPI's own transports have 2^31.)
  int tag_of(Traffic traffic, int64_t bytes) const;
  void compare(const CommCall& call);
  void describe_difference(const CommCall& call);
  void all_reduce(const CommCall& call);
  void all_reduce_small(const CommCall& call);
  void all_gather(const CommCall& call);
  void all_to_all(const CommCall& call);
  /// send[r] goes to rank r, receive[r] comes from it; this rank's own entries are ignored.
  void exchange(std::span<const Part> send, std::span<const Part> receive);
  /// out = this rank's part of the reduction of `in`, in the order of the ranks; part r of `in` is elements
  /// [offsets[r], offsets[r + 1]).
  void reduce_parts(ReduceOp op, DType dtype, std::byte* in, std::span<const int64_t> offsets,
                    std::byte* out);
  /// Sends this rank's part of `data` to all, and receives theirs.
  void gather_parts(DType dtype, std::byte* data, std::span<const int64_t> offsets);

  MPI_Comm comm_;
  std::string name_;
  MpiOptions options_;
  int rank_ = 0;
  int size_ = 1;
  int64_t num_lengths_ = 1;  // that tags tell apart
  std::vector<std::byte> scratch_;
  std::unique_ptr<MpiProgress> progress_;
};

}  // namespace trireme

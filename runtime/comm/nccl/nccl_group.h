// One NCCL communicator, its stream, and the operations on it. For files of this folder.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <vector>

#include <nccl.h>

#include "runtime/comm/comm_call.h"
#include "runtime/comm/nccl/nccl_communicator.h"

namespace trireme {

/// NCCL's communicator for the ranks of a group, or for the messages from one rank to another (of which the
/// sender is rank 0). Owned by its queue and by all its operations under way. Used by one thread at a time,
/// but for the last two calls. Errors are EnvironmentErrors with NCCL's own words, the communicator and the
/// rank.
class NcclGroup {
 public:
  NcclGroup(std::string name, Device device, int size, int rank, const NcclOptions& options);

  /// The id's memory: made by rank 0 and sent, received by the others.
  Tensor make_id();
  Tensor room_for_id();
  /// Meets the other ranks, once the id is there; gives up after options.init_seconds.
  void make();

  /// Gives the call to the device, to be carried out after `ready`; the event is done when it was.
  std::shared_ptr<Event> launch(const CommCall& call, Event& ready);
  void synchronize() { stream_->synchronize(); }
  /// Lets NCCL prepare the memory of a tensor, which is kept until deregister_buffer() or close().
  void register_buffer(const Tensor& t);
  void deregister_buffer(const Tensor& t);
  /// Ends a healthy group, with the other ranks.
  void close() noexcept;

  /// Throws when NCCL has met an error since.
  void check_health() const;
  /// Makes what is under way fail instead of waiting; never waits.
  void abort() noexcept;

 private:
  void issue(const CommCall& call);
  void exchange_parts(const CommCall& call);
  void check(ncclResult_t result, const char* call) const;
  /// Until NCCL has done what it was asked for: launched kernels, that is, not run them.
  void settle(const char* call, std::chrono::steady_clock::time_point deadline) const;

  std::string name_;
  Device device_;
  int size_, rank_;
  NcclOptions options_;
  ncclUniqueId id_{};
  std::unique_ptr<Stream> stream_;
  struct Registration {
    Tensor tensor;
    void* handle;
  };
  std::vector<Registration> buffers_;
  std::atomic<ncclComm_t> comm_ = nullptr;
  std::atomic<bool> aborted_ = false;
  mutable std::mutex alive_;  // held to look at comm_ from another thread
};

}  // namespace trireme

// One NCCL communicator, its stream, and the operations on it. For files of this folder.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <nccl.h>

#include "runtime/comm/comm_call.h"
#include "runtime/comm/nccl/nccl_communicator.h"

namespace trireme {

/// NCCL's communicator for the collectives of a group, or for the messages from one rank to another (a
/// channel, of which the sender is rank 0). NCCL lets one thread at a time operate a communicator, asking for
/// its errors included: make() runs on a thread of its own and ends before anything else begins, and all the
/// rest, but for what says otherwise, is the launcher's thread's. Errors are EnvironmentErrors with NCCL's
/// own words, the communicator and the rank.
class NcclGroup {
 public:
  enum class Kind { collectives, channel };
  /// `scratch`: kScratchBytes on the device, which all groups of a launcher may write to.
  NcclGroup(Kind kind, std::string name, Device device, int size, int rank, const NcclOptions& options,
            std::shared_ptr<void> scratch);
  static constexpr size_t kScratchBytes = 256;

  /// The id's memory: made by rank 0 and sent, received by the others. By any thread, before make().
  Tensor make_id();
  Tensor room_for_id();

  /// Meets the other ranks, once the id is there, and returns when the group is ready or has failed. A
  /// channel has carried a first message then: NCCL connects two ranks at their first one, which waits for
  /// both.
  void make() noexcept;
  /// Neither ready nor failed. By any thread.
  bool is_being_made() const { return state_ == State::being_made; }
  /// When a group that is still being made is given up.
  std::chrono::steady_clock::time_point deadline() const { return deadline_; }
  /// Gives it up, with the words for a group that is not complete in time.
  void give_up() noexcept;
  /// Waits on this group will fail with `why`. From any thread.
  void fail(std::string why) noexcept;

  /// Gives the call to the device, to be carried out after `ready`; the event is done when it was.
  std::shared_ptr<Event> launch(const CommCall& call, Event& ready);
  /// Whether what was launched last went into a graph, instead of to the device.
  bool is_captured() const;
  void synchronize() { stream_->synchronize(); }
  /// Lets NCCL prepare the memory of a tensor, which is kept until deregister_buffer() or close().
  void register_buffer(const Tensor& t);
  void deregister_buffer(const Tensor& t);
  /// Ends a healthy group, with the other ranks.
  void close() noexcept;
  /// Asks NCCL whether an operation has failed since; if so, the group has failed, and the result says why.
  std::string look() noexcept;
  /// Makes what is in flight fail instead of waiting; never waits.
  void abort() noexcept;

  /// Throws when the group has failed. By any thread.
  void check_health() const;

 private:
  enum class State { being_made, ready, failed };
  ncclComm_t meet();
  void carry_first_message(ncclComm_t comm);
  void issue(const CommCall& call);
  void exchange_parts(const CommCall& call);
  void check(ncclResult_t result, const char* call, ncclComm_t comm) const;
  void check(ncclResult_t result, const char* call) const { check(result, call, comm_); }

  Kind kind_;
  std::string name_;
  Device device_;
  int size_, rank_;
  NcclOptions options_;
  ncclUniqueId id_{};
  std::shared_ptr<void> scratch_;
  std::unique_ptr<Stream> stream_;
  struct Registration {
    Tensor tensor;
    void* handle;
  };
  std::vector<Registration> buffers_;
  ncclComm_t comm_ = nullptr;  // written before the group is ready, and null again once it is closed
  bool aborted_ = false;
  std::atomic<std::chrono::steady_clock::time_point> deadline_;  // far away until the id has arrived
  std::atomic<State> state_ = State::being_made;
  mutable std::mutex mutex_;  // of what follows
  std::string failure_;
};

}  // namespace trireme

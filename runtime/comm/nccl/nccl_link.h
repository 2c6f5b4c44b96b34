// The thread that gives work to an NCCL group. For files of this folder.
#pragma once

#include <memory>

#include "runtime/comm/nccl/nccl_group.h"
#include "runtime/comm/work_queue.h"

namespace trireme {

/// Groups are made, and operations given to the device, by a thread of their own: both may have to wait for
/// other ranks, while this one goes on to what those wait for.
class NcclLink {
 public:
  explicit NcclLink(std::shared_ptr<NcclGroup> group) : group_(std::move(group)) {}
  /// While an exception unwinds nothing is waited for, since the job is about to end.
  ~NcclLink();
  NcclLink(const NcclLink&) = delete;
  NcclLink& operator=(const NcclLink&) = delete;

  /// Begins to make the group when its id has come; called once, first.
  void connect(WorkPtr id_arrives);
  /// Starts the call after what `stream` was given so far.
  WorkPtr start(Stream& stream, CommCall call);
  /// NcclGroup's, in the order of the calls started.
  void register_buffer(const Tensor& t);
  void deregister_buffer(const Tensor& t) noexcept;
  /// Returns when all that was started is done.
  void synchronize();

 private:
  int uncaught_ = std::uncaught_exceptions();
  std::shared_ptr<NcclGroup> group_;
  WorkPtr connected_;
  WorkQueue queue_;
};

}  // namespace trireme

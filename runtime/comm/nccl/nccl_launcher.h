// The one thread of a device that talks to NCCL. For files of this folder.
#pragma once

#include <functional>
#include <future>
#include <memory>

#include "runtime/comm/nccl/nccl_comparison.h"
#include "runtime/comm/nccl/nccl_group.h"

namespace trireme {

/// Does what is asked of the NCCL groups of a device, in the order in which it was asked, on a thread of its
/// own: NCCL lets one thread at a time operate a communicator, and calls it unsafe to launch for several
/// communicators of a device from several threads, or in an order that differs between ranks (NCCL user
/// guide, "Thread Safety" and "Using Multiple NCCL Communicators Concurrently").
///
/// A group is made beside that, since it waits for other ranks; meanwhile what needs it stays behind.
/// Collectives stay behind one another too, whatever their groups, so that all ranks launch them in the order
/// of the program. Messages pass them: another rank may need one before it comes to the group that this rank
/// waits for.
///
/// While an exception unwinds, nothing is waited for: the job is about to end.
class NcclLauncher {
 public:
  /// `world`, of the host, is aborted when NCCL reports an error.
  NcclLauncher(Device device, const NcclOptions& options, Communicator& world);
  ~NcclLauncher();
  NcclLauncher(const NcclLauncher&) = delete;
  NcclLauncher& operator=(const NcclLauncher&) = delete;

  std::shared_ptr<NcclGroup> make_group(NcclGroup::Kind kind, std::string name, int size, int rank);
  /// Begins to make the group when its id has come; called once, first.
  void connect(const std::shared_ptr<NcclGroup>& group, WorkPtr id_arrives);
  /// Starts the call after what `stream` was given so far and, where there is a `comparison`, when that is
  /// done and finds nothing.
  WorkPtr start(const std::shared_ptr<NcclGroup>& group, Stream& stream, CommCall call,
                std::shared_ptr<CallComparison> comparison = nullptr);
  /// Runs `task` in its turn, and returns when it has run; throws what it throws. Not when the group has
  /// failed.
  void run(const std::shared_ptr<NcclGroup>& group, std::function<void()> task);
  /// Ends the group when all that was started on it is launched.
  void close(const std::shared_ptr<NcclGroup>& group) noexcept;
  /// Makes what is in flight in all groups fail; never waits.
  void abort() noexcept;

 private:
  struct Item;
  struct OnDevice;
  struct State;
  std::future<void> push(std::shared_ptr<NcclGroup> group, bool is_message, std::function<void()> task,
                         std::shared_ptr<CallComparison> comparison = nullptr);

  int uncaught_ = std::uncaught_exceptions();
  Device device_;
  NcclOptions options_;
  std::shared_ptr<void> scratch_;
  std::shared_ptr<State> state_;
};

}  // namespace trireme

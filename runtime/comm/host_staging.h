// Device tensors for backends that know memory of the host alone.
#pragma once

#include <functional>
#include <memory>
#include <mutex>

#include "runtime/comm/comm_call.h"
#include "runtime/device/allocator.h"

namespace trireme {

/// Carries calls whose tensors lie on a device out on copies in pinned memory of the host, so that results
/// are those of the backend bit for bit; calls on tensors of the host pass through as they are. Copies run on
/// a stream of their own, beside the arithmetic. For tensors of one device, from any thread.
class HostStaging : public std::enable_shared_from_this<HostStaging> {
 public:
  /// A collective: `carry_out` gets the call on tensors of the host. Starts after `ready`, and blocks until
  /// the results are on the device.
  void collective(Event& ready, const CommCall& call, int rank,
                  const std::function<void(const CommCall&)>& carry_out);

  /// A message: `post` begins it with a tensor of the host. Wait() of the result returns when what was
  /// received is on the device.
  WorkPtr message(Stream& stream, CommCall call, const std::function<WorkPtr(CommCall)>& post);

 private:
  class MessageWork;
  /// Pinned memory for the elements of a tensor; made at the first call of either kind, with the stream.
  Tensor host_buffer(const Tensor& on_device);
  void copy(const Tensor& from, const Tensor& to);  // and waits

  std::mutex mutex_;  // of the making
  std::unique_ptr<Allocator> pinned_;
  std::unique_ptr<Stream> stream_;
};

}  // namespace trireme

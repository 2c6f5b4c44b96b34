// Bytes of the ranks, piece by piece, on their way to the first one.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "runtime/comm/communicator.h"

namespace trireme::launch {

/// Every rank but the first sends; the first receives from one rank after the other.
class PartSender {
 public:
  PartSender(Communicator& world, Stream& host_stream) : world_(world), stream_(host_stream) {}
  /// A piece of at most a few MiB, not empty.
  void send(std::string_view piece);
  /// There is no more of what the pieces before belong to.
  void end();

 private:
  void send_number(int64_t value);
  Communicator& world_;
  Stream& stream_;
};

/// Passes on the pieces that `rank` sends until it ends.
void receive_parts(Communicator& world, Stream& host_stream, int rank,
                   const std::function<void(std::string_view)>& take);

}  // namespace trireme::launch

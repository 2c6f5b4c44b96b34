// A captured CUDA graph: device work recorded once and replayed as a whole.
#pragma once

#include "runtime/device/stream.h"

namespace trireme {

/// What Stream::capture() recorded: the same kernels and copies with the same arguments and addresses, in
/// the same order. Must outlive its launches.
class Graph {
 public:
  virtual ~Graph() = default;
  /// Replays it on a stream of the device that it was captured on.
  virtual void launch(Stream& stream) = 0;
};

}  // namespace trireme

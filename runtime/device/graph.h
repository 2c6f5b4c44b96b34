// Work of a device, put down once and submitted again as a whole.
#pragma once

#include "runtime/device/stream.h"

namespace trireme {

/// What Stream::capture() has put down: the same kernels and copies with the same arguments and addresses, in
/// the same order. Outlives its launches.
class Graph {
 public:
  virtual ~Graph() = default;
  /// Submits all of it to a stream of the device that it was captured on.
  virtual void launch(Stream& stream) = 0;
};

}  // namespace trireme

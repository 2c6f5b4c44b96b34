// Ranks with a GPU each, through NCCL.
#pragma once

#include <memory>

#include "runtime/comm/communicator.h"

namespace trireme {

struct NcclOptions {
  /// A group that is not complete after so long is given up, and the job with it.
  double init_seconds = 120;
  /// Most blocks of a GPU that one operation takes from the arithmetic beside it (NCCL's maxCTAs): of a
  /// collective, and of a message, whose receiver is often posted long before the sender comes.
  int collective_ctas = 16, channel_ctas = 4;
};

/// The ranks of `host`, which finds them and continues carrying tensors of the host; those of `device` travel
/// through NCCL. All ranks call it. EnvironmentError with NCCL's own words where a group cannot be made, also
/// in a program built without NCCL.
///
/// Collectives and each direction between two ranks have a stream and an NCCL communicator of their own: they
/// are ordered as the contract says, beside the arithmetic, and no message waits for another peer's.
/// Work::wait orders the stream after the operation and does not block but while a group is being made. NCCL
/// has its own order of floating-point sums: it is the same from run to run and on all ranks, but not that of
/// the ranks, and 16-bit types may be rounded between ranks. An error that NCCL reports aborts the job.
std::unique_ptr<Communicator> make_nccl_world(std::unique_ptr<Communicator> host, Device device,
                                              const NcclOptions& options = {});

}  // namespace trireme

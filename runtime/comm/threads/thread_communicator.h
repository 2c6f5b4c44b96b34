// Ranks as threads of one process.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "runtime/comm/communicator.h"

namespace trireme {

/// Runs body(world) on `num_ranks` threads, one a rank, and returns when all have ended. When a body throws,
/// the others' operations throw an EnvironmentError that names its rank, and its exception is rethrown here
/// once all threads are joined.
///
/// Ranks compare what they call: a collective that differs between ranks throws InternalError on all of them,
/// saying who called what. Reductions are carried out in the order of the ranks, each rank doing its share of
/// the elements. Tensors of a device travel through memory of the host.
void run_thread_ranks(int num_ranks, const std::function<void(Communicator& world)>& body);

}  // namespace trireme

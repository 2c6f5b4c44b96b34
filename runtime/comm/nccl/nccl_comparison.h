// What ranks say of a collective to one another, through the host, before NCCL moves its data.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/comm/comm_call.h"

namespace trireme {

/// The exchange of one collective's signatures over `host`, which all ranks of it begin in the same order.
class CallComparison {
 public:
  /// Begins it, and waits for nobody. `host` and `stream`, of the host, outlive it.
  CallComparison(Communicator& host, Stream& stream, const CommCall& call);

  /// Whether all ranks have said what they call. By any thread.
  bool is_done();
  /// Once it is done: throws InternalError where calls differ, with who calls what and where.
  void check();

 private:
  std::string name_;
  int size_;
  std::vector<CommSignature> signatures_;      // [size]
  std::vector<int64_t> sent_, expected_;       // [size, size], of an all-to-all of different lengths
  CommSignature mine_;                         // sent from here, as are the next
  std::vector<int64_t> to_send_, to_receive_;  // [size]
  std::vector<WorkPtr> exchanges_;
};

}  // namespace trireme

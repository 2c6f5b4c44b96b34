// What of a rank's waits was for transfers, and what for ranks that had not come yet.
#pragma once

#include <span>
#include <string>

#include "launch/profile/step_clock.h"
#include "runtime/comm/communicator.h"

namespace trireme::launch {

/// Milliseconds: together they are the waits.
struct SplitWaits {
  double transfer = 0;  ///< all that was needed had come, and was on its way
  double late = 0;
};

/// Splits the waits of a window without common clocks. Of a collective the member that comes last waits for
/// nothing but the transfer: that is the least wait of all members, call by call (of an asynchronous one:
/// what was left of it when the last began to wait). What others waited longer is lateness. A message is
/// split at the time when the other end was posted; clocks of different hosts are compared by ping-pong.
///
/// All members call it; costs an all-reduce of at most WaitSeries::kMost numbers, and between ranks that have
/// exchanged messages one message of at most Messages::kMost numbers a direction of theirs. `hosts`: of each
/// rank of the world.
SplitWaits split_waits(Communicator& group, const GroupWaits& mine, std::span<const std::string> hosts);

/// The same of messages, where it is known when the other end was posted, by this host's steady_ns().
SplitWaits split_messages(const Messages& messages, std::span<const int64_t> other_end_ns);

}  // namespace trireme::launch

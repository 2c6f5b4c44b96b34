// The steady clocks of hosts beside that of the first rank.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "runtime/comm/communicator.h"

namespace trireme::launch {

struct ClockOffset {
  int64_t at_ns = 0;          ///< when it was measured, by the rank's clock
  int64_t offset_ns = 0;      ///< to be added to the rank's clock for that of the first rank
  int64_t round_trip_ns = 0;  ///< the offset is known within half of it; 0: it is the same clock
};

/// What clock a rank reads.
struct RankClock {
  std::function<int64_t()> now_ns;  ///< of the steady clock
  std::string id;                   ///< equal where ranks read the same clock

  /// Of this process; the id is the kernel's boot id.
  static RankClock of_host();
};

/// Of this rank; all ranks call it. A rank that reads another clock than the first exchanges messages with
/// it, as NTP does: of several round trips the shortest says most (Cristian, Distributed Computing 3, 1989).
ClockOffset measure_clock_offset(Communicator& world, Stream& host_stream, const RankClock& clock);

/// From a rank's clock to the first rank's, by two measurements: between them both clocks go evenly.
class AlignedClock {
 public:
  AlignedClock(const ClockOffset& first, const ClockOffset& last) : first_(first), last_(last) {}
  int64_t aligned(int64_t ns) const;
  /// How far the clocks have moved apart between the measurements.
  int64_t drift_ns() const { return last_.offset_ns - first_.offset_ns; }
  const ClockOffset& first() const { return first_; }

 private:
  ClockOffset first_, last_;
};

}  // namespace trireme::launch

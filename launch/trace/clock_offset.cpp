#include "launch/trace/clock_offset.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <vector>

#include "launch/process/host_name.h"
#include "runtime/base/philox.h"
#include "runtime/comm/record/call_ring.h"

namespace trireme::launch {

namespace {

constexpr int kRoundTrips = 16;

class Numbers {
 public:
  Numbers(Communicator& world, Stream& stream) : world_(world), stream_(stream) {}
  void send(int64_t value, int to) { world_.send(stream_, one(value), to, "clock"); }
  int64_t receive(int from) {
    int64_t value = 0;
    world_.receive(stream_, one(value), from, "clock");
    return value;
  }

 private:
  static Tensor one(int64_t& value) { return Tensor::borrow(&value, {1}, DType::i64); }
  Communicator& world_;
  Stream& stream_;
};

ClockOffset ask_first(Numbers& numbers, const RankClock& clock) {
  ClockOffset best{0, 0, std::numeric_limits<int64_t>::max()};
  for (int i = 0; i < kRoundTrips; ++i) {
    const int64_t sent = clock.now_ns();
    numbers.send(sent, 0);
    const int64_t there = numbers.receive(0), back = clock.now_ns();
    if (back - sent < best.round_trip_ns) best = {sent, there - (sent + (back - sent) / 2), back - sent};
  }
  return best;
}

}  // namespace

RankClock RankClock::of_host() {
  std::string id;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), id);
  return {steady_ns, id.empty() ? host_name() : id};
}

ClockOffset measure_clock_offset(Communicator& world, Stream& host_stream, const RankClock& clock) {
  auto own = static_cast<int64_t>(hash_name(clock.id));
  std::vector<int64_t> ids(static_cast<size_t>(world.size()));
  world.all_gather(host_stream, Tensor::borrow(&own, {1}, DType::i64),
                   Tensor::borrow(ids.data(), {world.size()}, DType::i64));
  Numbers numbers(world, host_stream);
  ClockOffset offset{clock.now_ns(), 0, 0};
  for (int rank = 1; rank < world.size(); ++rank) {
    if (ids[static_cast<size_t>(rank)] == ids[0]) continue;
    if (world.rank() == rank) offset = ask_first(numbers, clock);
    for (int i = 0; world.rank() == 0 && i < kRoundTrips; ++i) {
      numbers.receive(rank);
      numbers.send(clock.now_ns(), rank);
    }
  }
  return offset;
}

int64_t AlignedClock::aligned(int64_t ns) const {
  const int64_t between = last_.at_ns - first_.at_ns;
  const double share =
      between > 0 ? static_cast<double>(ns - first_.at_ns) / static_cast<double>(between) : 0.0;
  return ns + first_.offset_ns + std::llround(share * static_cast<double>(drift_ns()));
}

}  // namespace trireme::launch

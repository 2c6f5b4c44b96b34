#include "runtime/watch/channel/roster.h"

#include <algorithm>

namespace trireme::watch {

std::vector<int> seats_of(const Roster& roster) {
  constexpr size_t kMost = 3;
  std::vector<int> seats = {0};
  for (int rank = 1; rank < roster.size() && seats.size() < 2; ++rank) {
    if (!roster.is_same_host(0, rank)) seats.push_back(rank);
  }
  for (int rank = 1; rank < roster.size() && seats.size() < kMost; ++rank) {
    if (std::ranges::find(seats, rank) == seats.end()) seats.push_back(rank);
  }
  return seats;
}

}  // namespace trireme::watch

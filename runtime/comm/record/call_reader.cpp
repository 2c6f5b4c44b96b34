#include "runtime/comm/record/call_reader.h"

#include <algorithm>
#include <utility>

namespace trireme {

CallReader::CallReader(const Recorder& recorder) : recorder_(recorder) {
  find_rings();
  for (Reading& reading : readings_) reading.next = reading.ring->num_calls();
}

void CallReader::find_rings() {
  for (auto& ring : recorder_.rings()) {
    if (std::ranges::find(readings_, ring, &Reading::ring) == readings_.end())
      readings_.push_back({std::move(ring), 0, {}});
  }
}

bool CallReader::is_filling() const {
  return std::ranges::any_of(readings_, [](const Reading& reading) {
    return 4 * (reading.ring->num_calls() - reading.next) >= reading.ring->length();
  });
}

/// False: to be tried again, as it is not over.
bool CallReader::pass_on(const Reading& reading, int64_t index, const Take& take, bool all) {
  const auto call = reading.ring->at(index);
  if (!call) {
    ++num_lost_;
    return true;
  }
  if (call->ended_ns == 0 && !all) return false;
  take(reading.ring->group(), *call);
  return true;
}

void CallReader::take(const Take& take, bool all) {
  find_rings();
  for (Reading& reading : readings_) {
    std::erase_if(reading.open, [&](int64_t index) { return pass_on(reading, index, take, all); });
    const int64_t end = reading.ring->num_calls();
    for (; reading.next < end; ++reading.next) {
      if (!pass_on(reading, reading.next, take, all)) reading.open.push_back(reading.next);
    }
  }
}

}  // namespace trireme

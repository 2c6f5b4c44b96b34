#include "tests/support/nccl_on_host/nccl_rules.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "tests/support/nccl_on_host/nccl_job.h"

namespace trireme::nccl_on_host {

namespace {

struct Launches {
  std::mutex mutex;
  std::map<int, std::thread::id> threads;  // that launch for a device
  // Of two devices: the collectives of the communicators that both are in, and how far each has come.
  struct Common {
    std::deque<const void*> order;
    uint64_t begin = 0;  // of `order`
    std::map<int, uint64_t> place;
  };
  std::map<std::pair<int, int>, Common> common;
};
Launches& launches() {
  static auto& all = *new Launches;
  return all;
}

// False when another collective than the other device's comes next.
bool is_next(Launches::Common& common, int device, const void* collective) {
  uint64_t& place = common.place[device];
  place = std::max(place, common.begin);
  const uint64_t at = place++ - common.begin;
  if (at == common.order.size()) {
    common.order.push_back(collective);
  } else if (common.order[at] != collective) {
    return false;
  }
  while (!common.order.empty() && common.place.size() == 2 &&
         std::ranges::all_of(common.place, [&](const auto& p) { return p.second > common.begin; })) {
    common.order.pop_front();
    ++common.begin;
  }
  return true;
}

}  // namespace

const char* judge_launch(int device, const void* collective, const std::vector<int>& devices) {
  Launches& all = launches();
  const std::lock_guard lock(all.mutex);
  const auto self = std::this_thread::get_id();
  if (all.threads.try_emplace(device, self).first->second != self) return "two threads launch for one device";
  if (collective == nullptr) return nullptr;
  for (const int other : devices) {
    if (other != device && !is_next(all.common[std::minmax(device, other)], device, collective)) {
      return "two devices launch collectives in different orders";
    }
  }
  return nullptr;
}

void forget_launches_of(int device) {
  const std::lock_guard lock(launches().mutex);
  launches().threads.erase(device);
  std::erase_if(launches().common,
                [&](const auto& c) { return c.first.first == device || c.first.second == device; });
}

void begin_job() {
  const std::lock_guard lock(launches().mutex);
  launches().threads.clear();
  launches().common.clear();
}

}  // namespace trireme::nccl_on_host

#include "launch/serve/engine/engine_watch.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "launch/serve/engine/text_queue.h"

namespace trireme::launch {

EngineWatch::EngineWatch(EngineWatchLinks links) : links_(std::move(links)), thread_([this] { serve(); }) {}

EngineWatch::~EngineWatch() {
  {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void EngineWatch::begin_pass() { began_ = steady_seconds(); }
void EngineWatch::end_pass() { began_ = 0; }

void EngineWatch::serve() {
  constexpr double kLeast = 0.01, kMost = 0.5, kLooks = 10;  // seconds between looks; looks of a stuck pass
  const std::chrono::duration<double> between(std::clamp(links_.stuck_seconds / kLooks, kLeast, kMost));
  double told = 0, last_status = steady_seconds();
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, between, [this] { return is_over_; })) {
    const double began = began_, now = steady_seconds();
    if (began > 0 && began != told && now - began > links_.stuck_seconds) {
      told = began;
      links_.on_stuck();
    }
    if (links_.status_seconds > 0 && now - last_status >= links_.status_seconds) {
      last_status = now;
      links_.on_status();
    }
  }
}

}  // namespace trireme::launch

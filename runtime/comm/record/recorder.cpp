#include "runtime/comm/record/recorder.h"

#include <utility>

namespace trireme {

void Recorder::enter(const CallSite& site) {
  layer_.store(site.layer, kRelaxed);
  micro_batch_.store(site.micro_batch, kRelaxed);
  step_.store(site.step, kRelaxed);
  phase_.store(site.phase, kRelaxed);
  phase_since_.store(steady_ns(), kRelaxed);
  note_entered();
}

std::shared_ptr<CallRing> Recorder::make_ring(RecordedGroup group) {
  auto ring = std::make_shared<CallRing>(std::move(group), length_, num_done_);
  const std::lock_guard lock(mutex_);
  std::erase_if(rings_, [](const auto& other) { return other.expired(); });
  rings_.push_back(ring);
  return ring;
}

std::vector<std::shared_ptr<CallRing>> Recorder::rings() const {
  std::vector<std::shared_ptr<CallRing>> rings;
  const std::lock_guard lock(mutex_);
  for (const auto& weak : rings_) {
    if (auto ring = weak.lock()) rings.push_back(std::move(ring));
  }
  return rings;
}

std::vector<CommHistory> Recorder::history() const {
  std::vector<CommHistory> all;
  for (const auto& ring : rings()) all.push_back(ring->history());
  return all;
}

}  // namespace trireme

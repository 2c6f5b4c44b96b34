#include "runtime/comm/record/call_ring.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "runtime/base/error.h"

namespace trireme {

namespace {

constexpr uint64_t kTimeBits = 48;  // nanoseconds since the call was made: 78 hours
constexpr uint64_t kTimeMask = (uint64_t{1} << kTimeBits) - 1;

uint64_t tag_of(int64_t index) { return static_cast<uint64_t>(index) << kTimeBits; }

/// Whether the time was not yet there, and the slot is still the call's.
bool stamp(std::atomic<uint64_t>& time, const CallRing::Place& place, int64_t now) {
  const auto passed = static_cast<uint64_t>(std::max<int64_t>(now - place.enqueued_ns, 0)) + 1;
  uint64_t expected = tag_of(place.index);
  return time.compare_exchange_strong(expected, tag_of(place.index) | std::min(passed, kTimeMask),
                                      std::memory_order_release, std::memory_order_relaxed);
}

}  // namespace

struct CallRing::Content {
  int64_t sequence, count, step, enqueued_ns;
  char label[24];
  int32_t micro_batch, layer;
  int32_t peer;
  CommKind kind;
  ReduceOp op;
  DType dtype;
  Phase phase;
};

CallRing::CallRing(RecordedGroup group, int64_t length, std::shared_ptr<Counter> num_done)
    : group_(std::move(group)),
      length_(length),
      slots_(std::make_unique<Slot[]>(static_cast<size_t>(length))),
      num_done_(std::move(num_done)) {
  static_assert(sizeof(Content) == kNumWords * sizeof(uint64_t));
  TRIREME_CHECK(1 <= length && length <= 32768, "a ring of {} calls", length);
}

// Every store orders those before it: who reads a word of this call finds the version that announces it.
CallRing::Place CallRing::add(const CallRecord& record) {
  const int64_t index = num_calls_.load(std::memory_order_relaxed);
  int64_t sequence = 0;
  if (is_point_to_point(record.kind)) {
    sequence = num_messages_[2 * record.peer + (record.kind == CommKind::send)]++;
  } else {
    sequence = num_collectives_.load(std::memory_order_relaxed);
    num_collectives_.store(sequence + 1, std::memory_order_relaxed);
  }
  Content content{sequence,           record.count, record.site.step,
                  record.enqueued_ns, {},           record.site.micro_batch,
                  record.site.layer,  record.peer,  record.kind,
                  record.op,          record.dtype, record.site.phase};
  std::memcpy(content.label, record.label, sizeof content.label);
  const auto words = std::bit_cast<std::array<uint64_t, kNumWords>>(content);
  Slot& slot = slot_of(index);
  const auto version = 2 * static_cast<uint64_t>(index);
  slot.version.store(version + 1, std::memory_order_relaxed);
  for (size_t i = 0; i < kNumWords; ++i) slot.words[i].store(words[i], std::memory_order_release);
  slot.started.store(tag_of(index), std::memory_order_release);
  slot.ended.store(tag_of(index), std::memory_order_release);
  slot.version.store(version + 2, std::memory_order_release);
  num_calls_.store(index + 1, std::memory_order_release);
  return {&slot, index, record.enqueued_ns};
}

void CallRing::start(const Place& place) const { stamp(place.slot->started, place, steady_ns()); }

void CallRing::end(const Place& place) const {
  const uint64_t not_yet = tag_of(place.index);
  if (place.slot->ended.load(std::memory_order_relaxed) != not_yet) return;
  const int64_t now = steady_ns();
  if (place.slot->started.load(std::memory_order_relaxed) == not_yet) stamp(place.slot->started, place, now);
  if (stamp(place.slot->ended, place, now)) num_done_->fetch_add(1, std::memory_order_relaxed);
}

bool CallRing::read(int64_t index, CallRecord& record) const {
  const Slot& slot = slot_of(index);
  const uint64_t version = 2 * static_cast<uint64_t>(index) + 2;
  if (slot.version.load(std::memory_order_acquire) != version) return false;
  std::array<uint64_t, kNumWords> words;
  for (size_t i = 0; i < kNumWords; ++i) words[i] = slot.words[i].load(std::memory_order_acquire);
  // The end first: what has ended has started.
  const uint64_t ended = slot.ended.load(std::memory_order_acquire);
  const uint64_t started = slot.started.load(std::memory_order_acquire);
  if (slot.version.load(std::memory_order_relaxed) != version) return false;
  const auto content = std::bit_cast<Content>(words);
  const auto time = [&](uint64_t stamp) {
    const auto passed = static_cast<int64_t>(stamp & kTimeMask);
    return passed == 0 ? 0 : content.enqueued_ns + passed - 1;
  };
  record = {.sequence = content.sequence,
            .kind = content.kind,
            .op = content.op,
            .dtype = content.dtype,
            .count = content.count,
            .peer = content.peer,
            .label = {},
            .site = {content.phase, content.step, content.micro_batch, content.layer},
            .enqueued_ns = content.enqueued_ns,
            .started_ns = time(started),
            .ended_ns = time(ended)};
  std::memcpy(record.label, content.label, sizeof record.label);
  return true;
}

std::optional<CallRecord> CallRing::at(int64_t index) const {
  CallRecord record;
  return read(index, record) ? std::optional(record) : std::nullopt;
}

CommHistory CallRing::history() const {
  CommHistory history;
  static_cast<RecordedGroup&>(history) = group_;
  history.num_calls = num_calls_.load(std::memory_order_acquire);
  history.num_collectives = num_collectives_.load(std::memory_order_relaxed);
  CallRecord record;
  for (int64_t i = std::max<int64_t>(0, history.num_calls - length_); i < history.num_calls; ++i) {
    if (read(i, record)) history.calls.push_back(record);
  }
  return history;
}

}  // namespace trireme

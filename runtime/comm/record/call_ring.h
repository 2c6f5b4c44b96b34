// The last calls of one communicator of a rank.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/comm/comm_kind.h"
#include "runtime/comm/record/call_site.h"
#include "runtime/tensor/dtype.h"

namespace trireme {

/// Nanoseconds of the steady clock: of this host, since its start.
inline int64_t steady_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// A call that this rank has made on a communicator.
struct CallRecord {
  /// From 0, in the order of the calls: collectives among those of the communicator, messages among those of
  /// the same peer and direction. Ranks number alike, so that equal numbers belong together.
  int64_t sequence = 0;
  CommKind kind = CommKind::barrier;
  ReduceOp op = ReduceOp::sum;  ///< of all_reduce and reduce_scatter
  DType dtype = DType::f32;
  int64_t count = -1;   ///< elements passed in; -1: the call has none (barrier, split)
  int peer = -1;        ///< root, destination or source, as a rank of the communicator; -1: none
  char label[24] = {};  ///< of a message
  CallSite site = {};   ///< where the rank was when it made the call
  /// steady_ns() when the call was made, when the backend began to carry it out, and when it was found done;
  /// 0: not yet.
  int64_t enqueued_ns = 0, started_ns = 0, ended_ns = 0;
};

/// A communicator as its records name it.
struct RecordedGroup {
  std::string name, backend;      ///< of Communicator
  uint64_t id = 0;                ///< equal on all members, and of no other communicator of theirs
  std::vector<int> members = {};  ///< as ranks of the world, in the order of the group
  int rank = 0;                   ///< this rank's place among them
};

/// What a communicator has carried.
struct CommHistory : RecordedGroup {
  std::vector<CallRecord> calls;  ///< oldest first, as many as the ring holds
  int64_t num_collectives = 0;    ///< that were called so far
  int64_t num_calls = 0;          ///< collectives and messages
};

/// A ring of records that any thread may read while calls are made: readers never hold up the writers, and
/// leave out what is overwritten meanwhile (a seqlock a slot). add() is called by one thread at a time, the
/// rest by any.
class CallRing {
  struct Slot;

 public:
  using Counter = std::atomic<int64_t>;
  /// `length` records, 1 to 32768. `num_done` counts calls that have ended.
  CallRing(RecordedGroup group, int64_t length, std::shared_ptr<Counter> num_done);

  const RecordedGroup& group() const { return group_; }
  /// A call of a ring that lives.
  struct Place {
    Slot* slot = nullptr;
    int64_t index = 0, enqueued_ns = 0;
  };
  /// Adds a call, of which it fills in the sequence; it is neither started nor ended.
  Place add(const CallRecord& record);
  /// The call begins or ends now. The first time counts, and nothing happens where the record was
  /// overwritten.
  void start(const Place& place) const;
  void end(const Place& place) const;
  /// The call, as long as it is not overwritten.
  std::optional<CallRecord> find(const Place& place) const { return at(place.index); }
  /// The same by its number, from 0, of all calls of the ring.
  std::optional<CallRecord> at(int64_t index) const;
  int64_t num_calls() const { return num_calls_.load(std::memory_order_acquire); }
  int64_t length() const { return length_; }
  int world_rank() const { return group_.members[static_cast<size_t>(group_.rank)]; }
  CommHistory history() const;

 private:
  struct Content;  // a record without its times
  static constexpr size_t kNumWords = 9;
  struct Slot {
    std::atomic<uint64_t> version = 0;  // 2 i + 1 while call i is written, 2 i + 2 when it is there
    std::array<std::atomic<uint64_t>, kNumWords> words = {};
    // The low 16 bits of the index, so that only its own call changes it, and nanoseconds since it was made.
    std::atomic<uint64_t> started = 0, ended = 0;
  };
  Slot& slot_of(int64_t index) const { return slots_[static_cast<size_t>(index % length_)]; }
  bool read(int64_t index, CallRecord& record) const;

  const RecordedGroup group_;
  const int64_t length_;
  const std::unique_ptr<Slot[]> slots_;
  std::shared_ptr<Counter> num_done_;
  std::atomic<int64_t> num_calls_ = 0, num_collectives_ = 0;
  std::unordered_map<int64_t, int64_t> num_messages_;  // by peer and direction; of add() alone
};

/// One recorded call, for whoever carries it out; empty where calls are not recorded. Copies are the same
/// call.
class RecordedCall {
 public:
  RecordedCall() = default;
  RecordedCall(std::shared_ptr<CallRing> ring, const CallRecord& record)
      : ring_(std::move(ring)), place_(ring_->add(record)) {}

  explicit operator bool() const { return ring_ != nullptr; }
  void start() const {
    if (ring_) ring_->start(place_);
  }
  void end() const {
    if (ring_) ring_->end(place_);
  }
  /// As long as the ring has it.
  std::optional<CallRecord> record() const { return ring_ ? ring_->find(place_) : std::nullopt; }
  /// This rank; only of a recorded call.
  int world_rank() const { return ring_->world_rank(); }

 private:
  std::shared_ptr<CallRing> ring_;
  CallRing::Place place_;
};

}  // namespace trireme

// BatchPrefetcher: reads and copies the next micro-batches to the device while a step computes.
#pragma once

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "parallel/batches/sample_rows.h"
#include "parallel/module/micro_batch.h"
#include "runtime/device/context.h"

namespace trireme {

/// Reads a row of micro-batches, this rank's share of each. With slots a thread of its own does so in advance
/// and copies them on a stream of its own; it starts no team of threads, and keeps the signals blocked that
/// its starter has blocked.
class BatchPrefetcher {
 public:
  /// `num_slots`: micro-batches that have memory at once, those in the caller's hands and those read in
  /// advance; all of it is taken here, as `buffers`: 2 * num_slots + 1 vectors of i32 (4 * num_slots + 1
  /// where documents are kept apart), one element a token of the largest. 0: each is read when it is asked
  /// for, by the caller. EnvironmentError where there is no thread to be had. `ctx` outlives this and the
  /// micro-batches that it hands out.
  BatchPrefetcher(Context& ctx, const BatchReader& reader, const ContextShare& share, SampleRow row,
                  int64_t num_slots);
  /// Waits for the read in flight, but no longer than a second: storage that hangs holds up no end.
  ~BatchPrefetcher();
  BatchPrefetcher(const BatchPrefetcher&) = delete;
  BatchPrefetcher& operator=(const BatchPrefetcher&) = delete;

  /// The next `most` or what is left of them; none: that was all. The compute stream gets them when they are
  /// there. What reading one of them threw comes out here, as it does without slots, in this and all later
  /// calls. With slots the caller holds fewer than num_slots - most + 1 meanwhile; each is free again when
  /// the last of its tensors goes, which is not while the stream is captured.
  std::vector<MicroBatch> next(int64_t most);

  /// In next(): what reading cost the caller.
  double seconds_waited() const { return seconds_waited_; }

 private:
  struct State;
  class Lease;
  MicroBatch read_now();
  MicroBatch take();
  MicroBatch describe(const SampleRun& run, RowFacts facts) const;

  Context& ctx_;
  SampleRow row_;
  SampleRows rows_;
  int64_t num_done_ = 0;
  double seconds_waited_ = 0;
  Tensor positions_;              // of the largest; the others have its first ones
  std::shared_ptr<State> state_;  // null without slots
  std::thread thread_;
};

}  // namespace trireme

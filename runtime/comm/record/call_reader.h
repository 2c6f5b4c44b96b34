// CallReader: all calls of a rank's communicators from some time on, as far as they are read in time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "runtime/comm/record/recorder.h"

namespace trireme {

/// Of calls made after it. One thread uses it, while others make calls and end them.
class CallReader {
 public:
  /// `recorder` outlives it.
  explicit CallReader(const Recorder& recorder);

  using Take = std::function<void(const RecordedGroup& group, const CallRecord& call)>;
  /// Passes on each call that has ended since the last time, in the order of the calls of its communicator;
  /// with `all` those that have not ended too.
  void take(const Take& take, bool all = false);
  /// Whether it is time to take(), before a ring overwrites what was not read.
  bool is_filling() const;
  /// Calls that were overwritten before they were read, and of those that were read while they were not over
  /// before they had ended.
  int64_t num_lost() const { return num_lost_; }

 private:
  struct Reading {
    std::shared_ptr<CallRing> ring;
    int64_t next = 0;
    std::vector<int64_t> open;  // read before, and not over then
  };
  void find_rings();
  bool pass_on(const Reading& reading, int64_t index, const Take& take, bool all);

  const Recorder& recorder_;
  std::vector<Reading> readings_;
  int64_t num_lost_ = 0;
};

}  // namespace trireme

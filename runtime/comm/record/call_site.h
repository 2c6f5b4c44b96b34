// Where in its work a rank is, and where it made a call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace trireme {

/// What a rank is doing. A stall is measured against the limit of its phase.
enum class Phase : uint8_t {
  setup,  ///< all before the first step: data, groups, weights, a checkpoint that is loaded
  data,   ///< waits for the next micro-batches
  forward,
  backward,
  reduction,  ///< what is left of the gradients' reduction after the last backward pass, totals and the norm
  update,
  evaluation,
  save,      ///< a checkpoint or a file of weights
  sample,    ///< text
  teardown,  ///< all after the last step
  teacher,   ///< of distillation: its passes, and its states on their way to the student
};

constexpr std::string_view to_string(Phase phase) {
  constexpr std::string_view kNames[] = {"setup",      "data", "forward", "backward", "reduction", "update",
                                         "evaluation", "save", "sample",  "teardown", "teacher"};
  return kNames[static_cast<size_t>(phase)];
}
constexpr size_t kNumPhases = 11;

struct CallSite {
  Phase phase = Phase::setup;
  int64_t step = -1;         ///< of the run, from 1 as log lines count them; -1: before the first
  int32_t micro_batch = -1;  ///< of the step on this rank, from 0; -1: none
  int32_t layer = -1;        ///< as names count them ("layers.3"), the head after the last; -1: none

  friend bool operator==(const CallSite&, const CallSite&) = default;
};

/// Hears where a rank comes to in its work, from the thread that computes.
class SiteObserver {
 public:
  virtual ~SiteObserver() = default;
  virtual void entered(const CallSite& site) = 0;
};

}  // namespace trireme

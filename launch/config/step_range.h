// Some steps of a run, one after the other.
#pragma once

#include <cstdint>

namespace trireme::launch {

/// Counted from 1; the last one is among them.
struct StepRange {
  int64_t first = 0, last = 0;  ///< 0: there are none

  bool contains(int64_t step) const { return first <= step && step <= last && step > 0; }

  friend bool operator==(const StepRange&, const StepRange&) = default;
};

}  // namespace trireme::launch

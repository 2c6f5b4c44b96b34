// Exposed communication: how long a rank waits for others, by process group.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "parallel/plan/parallel_context.h"

namespace trireme::launch {

/// Between start() and stop(), summed over all such spans, which are the training steps.
class WaitTimes {
 public:
  /// `parallel` outlives it.
  explicit WaitTimes(const ParallelContext& parallel);

  void start();
  /// Seconds waited since start().
  double stop();

  /// "exposed communication: tensor 3.1 %, data+context 0.4 %" of `seconds`, the mean of all ranks, as
  /// `mean` (a collective of all ranks) makes it of this rank's numbers; empty where no group has two ranks.
  std::string text(double seconds, const std::function<double(double)>& mean) const;

 private:
  std::vector<Communicator*> groups_;
  std::vector<double> before_, waited_;
};

}  // namespace trireme::launch

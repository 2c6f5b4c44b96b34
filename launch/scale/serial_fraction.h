// Amdahl's and Gustafson's laws, fitted to measured throughputs.
#pragma once

#include <span>
#include <string>

#include "launch/scale/series.h"

namespace trireme::launch {

struct Throughput {
  int ranks = 1;
  double tok_s = 0;  ///< of one run
};

/// strong: Amdahl, the time of a token on n ranks 1/X(n) = T1 (s + (1 - s) / n), a line in 1/n.
/// weak:   Gustafson, throughput X(n) = X1 (s + (1 - s) n), a line in n.
/// Least squares over all runs, each weighted by 1/y^2, since measurements scatter in proportion to their
/// size. The error is the standard error of s from the residuals (delta method).
struct SerialFraction {
  double fraction = 0;  ///< s; below 0 where throughput grows faster than the ranks
  double error = 0;
  double r2 = 0;
  int rank_counts = 0;
  std::string missing;  ///< why there is none; empty: there is one
};
/// Runs without a positive, finite throughput count as missing. At least three rank counts are needed: a line
/// through two says nothing of its quality.
SerialFraction fit_serial_fraction(ScaleMode mode, std::span<const Throughput> runs);

}  // namespace trireme::launch

// Compares two runs, or two groups of repeats: configuration, speed, loss.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/compare/compared_run.h"
#include "launch/compare/statistics.h"

namespace trireme::launch {

/// Runs of a side from which on their spread says how far repeats differ.
inline constexpr size_t kFewestRepeats = 3;

struct CompareOptions {
  double level = 0.95;  ///< of confidence
  /// Standard deviation of the speed of repeats of one run, relative, where there are too few of them to see
  /// it: fewer than three on both sides. docs/compare.md says how it was measured.
  double spread = 0.025;
};

/// An option whose value differs; empty: not known, as the option is of another version.
struct OptionDifference {
  std::string key;
  std::vector<std::string> a, b;  ///< each value of the side once
};

/// One quantity.
struct NoiseVerdict {
  std::string text;       ///< one line: "noise: ..." or "B is 3.1 % slower (95 %: 2.6 to 3.7 %)"
  bool is_known = false;  ///< else there is nothing to compare, as the text says
  bool is_noise = true;
  double a = 0, b = 0;  ///< ms a step, or loss
  Interval difference;  ///< of time a token: relative, 0.031 is slower; of losses: b - a
  std::string method;
};

struct Comparison {
  std::vector<ComparedRun> a, b;
  std::vector<OptionDifference> options;
  int64_t num_options = 0;  ///< that were compared
  NoiseVerdict speed, loss, val_loss;
  /// The losses of all runs are equal bit for bit up to this step; 0: already the first one differs, or
  /// there is no step that all have.
  int64_t equal_until = 0;
  int64_t last_common = 0;  ///< step of all runs; 0: none
};

/// Each side has one run at least.
Comparison compare_runs(std::vector<ComparedRun> a, std::vector<ComparedRun> b,
                        const CompareOptions& options);

/// The options whose values differ, with defaults for what a side leaves out. `num_options` counts all.
std::vector<OptionDifference> differing_options(const std::vector<ComparedRun>& a,
                                                const std::vector<ComparedRun>& b, int64_t& num_options);

/// Time a token of undisturbed steps.
NoiseVerdict compare_speed(const std::vector<ComparedRun>& a, const std::vector<ComparedRun>& b,
                           const CompareOptions& options);
/// Fills in what is about losses.
void compare_losses(Comparison& comparison, const CompareOptions& options);

}  // namespace trireme::launch

// What a series has found: a row for each point, with its efficiency and where the loss goes; fits; advice.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/scale/run_record.h"
#include "launch/scale/serial_fraction.h"
#include "launch/scale/series.h"
#include "launch/scale/statistics.h"

namespace trireme::launch {

/// A run of a point, as it ended.
struct RunOutcome {
  size_t point = 0;  ///< index into the points
  int repeat = 0;    ///< from 0
  int code = 0;      ///< exit code
  std::string error;
  double seconds = 0;  ///< from start to end, start-up included
  std::optional<RunMeasurement> measured;
};

/// A part of a point's step.
struct PartShare {
  std::string key;   ///< of StepParts; "compute" is what the baseline computes for the same tokens, and
                     ///< "slower compute" what is more than that
  double share = 0;  ///< of the step: those of a point add up to 1
  double lost = 0;   ///< of the step: what is more than the baseline spends for a token; those of a point add
                     ///< up to 1 - efficiency, as the breakdowns have it
};

struct PointResult {
  size_t point = 0;
  int runs = 0, failed = 0;
  std::string error;  ///< of the first that failed
  int error_code = 0;
  Spread tok_s{};               ///< over repeats
  double step_ms = 0, mfu = 0;  ///< medians
  bool is_mfu_sure = true;
  int64_t measured_bytes = 0, predicted_bytes = 0;
  int hosts = 0;        ///< 0: not known
  size_t baseline = 0;  ///< index of a point
  /// (tok_s / ranks) by that of the baseline; nothing where one of the two is missing.
  std::optional<double> efficiency;
  std::vector<PartShare> shares;  ///< empty: the runs have no breakdown
};

struct LineResult {
  std::string line;  ///< Point::line()
  SerialFraction fit;
  bool oversubscribed = false;  ///< of some of its points
};

struct SeriesResult {
  ScaleMode mode = ScaleMode::weak;
  std::vector<Point> points;
  std::vector<PointResult> results;  ///< of points that are not left out, in their order
  std::vector<LineResult> lines;
  std::string advice;  ///< a sentence or two; for several groups one for each
  int missing = 0;     ///< runs that have not been made yet
};

/// The baseline of a group is, of its points with the smallest rank count that has a measurement, the one
/// with the highest throughput. A line takes the baseline for its own point where it has none at that rank
/// count.
SeriesResult summarise(ScaleMode mode, std::vector<Point> points, const std::vector<RunOutcome>& outcomes,
                       int repeats);

}  // namespace trireme::launch

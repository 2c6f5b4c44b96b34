// The points of a scaling series: every rank count with every combination of the swept options.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace trireme::launch {

enum class ScaleMode {
  weak,    ///< the work of a rank is constant: the global batch is proportional to the ranks
  strong,  ///< the global batch is constant
};
std::string to_string(ScaleMode mode);

/// An option of trireme train, and the values that it takes in turn.
struct Sweep {
  std::string key;  ///< "parallel.tensor"
  std::vector<std::string> values;
};

/// "1,2,4", ascending, each once. UserError (usage) where it is none.
std::vector<int> parse_rank_counts(const std::string& list);
/// "parallel.tensor=1,2,4"; values that have commas themselves are separated by semicolons. UserError (usage)
/// where it is none.
Sweep parse_sweep(const std::string& text);

struct SeriesRequest {
  std::vector<int> ranks;  ///< ascending
  ScaleMode mode = ScaleMode::weak;
  std::vector<Sweep> sweeps;
  std::vector<std::string> options;  ///< of trireme train, for all runs
};

/// What the options of a point come to.
struct PointFacts {
  int64_t global_batch = 0;  ///< samples an optimizer step
  int64_t tokens_per_step = 0;
  std::string layout;                     ///< "dp 2 x tp 1 x pp 1 x cp 1"
  std::vector<std::string> more_options;  ///< that a short run of it needs
};

struct Point {
  int ranks = 1;
  std::vector<std::pair<std::string, std::string>> values;  ///< of the swept options
  std::vector<std::string> options;  ///< of trireme train, with those and the global batch
  PointFacts facts;
  std::string left_out;         ///< why it is not run; empty: it is
  bool oversubscribed = false;  ///< more ranks than cores

  /// The values of the swept options but those of the layout (section parallel): points that are equal in
  /// them share a baseline.
  std::string group() const;
  /// "tensor 2, zero 1"; empty without sweeps. Points that are equal in it form a line over the rank counts.
  std::string line() const;
};

/// Checks options at a number of ranks. Throws a UserError that says why they do not fit.
using CheckOptions = std::function<PointFacts(const std::vector<std::string>& options, int ranks)>;

/// All points, rank counts in ascending order and the last sweep running fastest. Those that do not fit have
/// the reason in `left_out`. In each group the global batch is
///   weak     G0 * ranks / n0, with G0 what the options give at n0, the smallest rank count at which a layout
///            of the group fits (without --train.global-batch: one micro-batch for each rank);
///   strong   what the options give, without --train.global-batch one micro-batch for each of the most
///            ranks.
/// G0 is the largest of the layouts at n0, so that all of them have one.
std::vector<Point> plan_points(const SeriesRequest& request, const CheckOptions& check);

}  // namespace trireme::launch

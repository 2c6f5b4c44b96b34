// PassCosts: how long passes take by their number of rows, as measured so far.
#pragma once

#include <cstdint>
#include <map>

namespace trireme {

/// Straight lines between some numbers of rows, which all that was measured between them moves, times a scale
/// that follows the machine's load and the growing texts: what was not measured lately stays in proportion.
class PassCosts {
 public:
  bool is_known() const { return !nodes_.empty(); }
  /// Seconds that a pass of so many rows is expected to take; known, or 0.
  double seconds(int64_t rows) const { return nodes_.empty() ? 0 : scale_ * relative(rows); }
  /// Beyond twice as many nothing is known.
  int64_t most_rows() const { return nodes_.empty() ? 0 : nodes_.rbegin()->first; }
  void learn(int64_t rows, double seconds);
  /// Whether passes of about so many rows were not among the last ones.
  bool is_stale(int64_t rows) const;

 private:
  struct Node {
    double relative = 0;  ///< seconds over the scale
    double weight = 0;    ///< of what was measured near it
    int64_t seen = 0;     ///< number of the last pass near it
  };
  double relative(int64_t rows) const;
  Node& at(int64_t rows);

  std::map<int64_t, Node> nodes_;  // by rows
  double scale_ = 1;
  int64_t num_passes_ = 0;
};

}  // namespace trireme

// The single-rank reference of a layout's steps, and its rounding error.
#pragma once

#include <memory>

#include "launch/verify/recorded_run.h"

namespace trireme::launch {

/// What one rank's passes give from the weights that the layout had, and what they give where they are
/// rounded otherwise.
struct ReferenceStep {
  RecordedStep one, other;
  NamedTensors biases;  ///< that balance experts, after the update
};

/// Two runs of one rank that recomputes nothing. The second computes the same with other roundings: a 16-bit
/// run's in f32, from the same rounded weights; that of f32 with every output and input gradient of a layer
/// off by two units of the last place, up or down at random. How far the two are apart is what rounding makes
/// of these weights and samples, wherever it is that they make much of it.
class Reference {
 public:
  Reference(const RunConfig& config, Device device);
  ~Reference();

  /// The next step, from the weights and biases that the layout's `step` had, with tokens going to its
  /// experts.
  ReferenceStep run(const NamedTensors& weights, const NamedTensors& biases, const RecordedStep& step);

 private:
  class OtherRounding;

  bool prunes_;
  RunConfig config_;
  std::unique_ptr<Communicator> self_;
  std::unique_ptr<OtherRounding> rounding_;
  RecordedRun one_, other_;
};

}  // namespace trireme::launch

// Errors planted into a layout's run, one at a time, to see whether they are found.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "launch/verify/recorded_run.h"
#include "runtime/comm/communicator.h"

namespace trireme::test {

enum class FaultKind : uint8_t {
  missing_all_reduce,  ///< of a layer's forward pass, on the tensor-parallel ranks of a replica
  scaled_output,       ///< what a layer gives on, on one rank
  scaled_gradient,     ///< of a layer's input, on one rank
  scaled_weights,      ///< a layer's weight gradients, on one rank
  scaled_expert,       ///< the weight gradient of one expert, on one rank
  shifted_position,    ///< of one token
  wrong_micro_batch,   ///< one passes again in the place of another
  stale_weight,        ///< a rank's parameter is after an update what it was before
  unsummed_replica,    ///< a replica's gradients of a layer get lost
  wrong_loss_weight,   ///< a target that counts does not
};

struct PlantedFault {
  FaultKind kind = FaultKind::scaled_output;
  int rank = 0;
  size_t layer = 0;         ///< of the model: 0 the embedding, then blocks, then the head
  int64_t step = 0;         ///< that it acts in first, counted from 0
  int64_t micro_batch = 0;  ///< of the rank's; those of gradients of weights act in all
  int64_t number = 0;       ///< of an expert, a parameter, a row, or an all-reduce
  double scale = 1;
  bool is_everywhere = false;  ///< not on one rank: scaled outputs, gradients and weights
};

std::string text_of(const PlantedFault& fault);

/// A fault that a layout can have, of kind seed % 10 where it can have that. Every fifth acts first in step 3
/// or later, for which config.train.steps is made large enough.
PlantedFault draw_fault(launch::RunConfig& config, uint64_t seed);

/// The fault's part in a rank's run.
class FaultOfRank {
 public:
  /// `ranks`, the true world, and `config`, the run's, outlive it.
  FaultOfRank(const PlantedFault& fault, const launch::RunConfig& config, Communicator& ranks);
  ~FaultOfRank();
  Communicator& world();
  launch::RunHooks* hooks();
  /// Where it has acted on this rank: words of which a report must have one. Empty: it has not.
  std::vector<std::string> places() const;

 private:
  class Part;
  class Ranks;
  std::unique_ptr<Part> part_;
  std::unique_ptr<Communicator> world_;
};

}  // namespace trireme::test

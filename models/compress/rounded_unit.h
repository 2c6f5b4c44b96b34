// A unit of matrices whose rounding a model can try, and drop again.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/inference/inference_model.h"
#include "parallel/checkpoint/weights/weight_source.h"
#include "parallel/module/parameter.h"

namespace trireme {

/// Whole matrices of a model that lie in one block of a rank, wherever it is.
struct UnitMatrices {
  std::vector<Parameter> members;  ///< as a single rank would have them
};

/// The units of a model in the order of the forward pass: of each block's matrices those that are taken.
std::vector<UnitMatrices> units_of(const Transformer& model,
                                   const std::function<bool(const std::string& name)>& takes);

/// Replaces this rank's part of a unit by values that were rounded as whole matrices, for as long as it
/// lives.
class RoundedUnit {
 public:
  /// Every rank makes one, also those that hold nothing of the unit.
  RoundedUnit(Context& ctx, InferenceModel& model, const WeightSource& source, const UnitMatrices& unit,
              const ops::PackedSpec& spec);
  ~RoundedUnit();
  RoundedUnit(const RoundedUnit&) = delete;
  RoundedUnit& operator=(const RoundedUnit&) = delete;

 private:
  ParameterBlock* block_ = nullptr;  // null: nothing is here
  std::shared_ptr<const PackedBlock> before_;
};

/// Sum of the squares of what rounding changes, over whole matrices.
double squared_error(Context& ctx, const WeightSource& source, const UnitMatrices& unit,
                     const ops::PackedSpec& spec);

}  // namespace trireme

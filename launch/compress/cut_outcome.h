// What a step cut, for report, log and a later attempt.
#pragma once

#include <vector>

#include <nlohmann/json.hpp>

#include "models/compress/structured/cut.h"

namespace trireme::launch {

/// Of a layer that stays: the part of its units' importance that went.
struct LostImportance {
  double heads = 0, neurons = 0, experts = 0;
};

struct CutOutcome {
  StructuredCut cut;                 ///< numbers that stay
  KeptUnits kept;                    ///< by their places in the model before
  std::vector<LostImportance> lost;  ///< of the layers that stay
  std::vector<double> layers;        ///< importance of each layer there was
};

CutOutcome cut_outcome(const StructuredCut& cut, KeptUnits kept, const UnitImportance& importance);

nlohmann::ordered_json json_of(const CutOutcome& outcome);
/// UserError (bad_input) naming `where` for what is none.
CutOutcome cut_outcome_of(const nlohmann::json& json, const std::string& where);

}  // namespace trireme::launch

// Checks Muon updates against its equations in double precision.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/config/run_config.h"

namespace trireme::launch {

/// What an update of one matrix should give, in double precision.
struct MuonExpectation {
  std::vector<double> weights;
  std::vector<double> direction;  ///< what is made orthogonal
  double step = 0;                ///< of an orthogonal matrix's elements: lr * 0.2 * sqrt(max(rows, columns))
  double decay = 0;               ///< factor on the weights before
};

/// Follows `momentum`, which is kept as the run keeps it.
MuonExpectation muon_update(const RunConfig& config, int64_t rows, int64_t columns,
                            const ParameterSettings& settings, const std::vector<float>& before,
                            const std::vector<float>& gradient, double factor, std::vector<float>& momentum);

/// The first element that is not what it should be; `after`: as many. `rounding`: of weights kept in 16 bits
/// alone, relative. With products in fp32 an element may be off by a hundredth of what elements move by,
/// since Newton-Schulz enlarges rounding up to 500 times where a singular value is small. In bf16 that hides
/// single elements of directions that the gradient does not have: there the update as a whole is looked at,
/// along the direction and in its norm, and the sentence names no element.
std::optional<std::string> muon_error(const RunConfig& config, const MuonExpectation& expected, int64_t rows,
                                      int64_t columns, const std::vector<float>& before,
                                      const std::vector<float>& after, double rounding);

}  // namespace trireme::launch

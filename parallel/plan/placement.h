// Placement: which layers each virtual stage holds.
#pragma once

#include <span>
#include <vector>

namespace trireme {

/// Cuts a row of layers with the given costs (any unit, at least `num_stages` of them) into `num_stages`
/// consecutive pieces of one layer or more. Returns num_stages + 1 positions: piece s is [result[s],
/// result[s + 1]). The largest piece is as small as can be, for it sets the pace of a pipeline; among such
/// cuts the sum of squares is smallest, then the last pieces are longest (they keep the fewest activations).
std::vector<int> place_layers(std::span<const double> costs, int num_stages);

}  // namespace trireme

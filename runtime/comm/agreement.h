// Ranks compare what they were started with, before anything depends on it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace trireme {

/// Something that ranks have in common.
struct Fact {
  std::string key;    ///< "optimizer.lr"
  std::string value;  ///< equal on all ranks; empty: this rank does not know it, and goes along
  std::string shown;  ///< how a message shows the value, where that says more; empty: as it is
};

/// Returns when all ranks of `world` have the same facts. Else every rank throws the same UserError (usage),
/// which names the keys, the values, and the ranks and hosts that have them. Costs one all-reduce of 16 bytes
/// where ranks agree, however many they are; where not, an all-gather of 80 bytes a rank, and the facts of at
/// most five of them. Every rank calls it; `host` is the name of this rank's machine.
void check_agreement(Communicator& world, std::span<const Fact> facts, const std::string& host);

}  // namespace trireme

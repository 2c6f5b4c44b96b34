// ExpertQueues: which choices of experts count, and where the rows of tokens go. Integers only.
#pragma once

#include <vector>

#include "models/config/moe_config.h"
#include "parallel/context_parallel/context_parallel.h"

namespace trireme {

/// Tokens of a sequence queue for an expert in the order of their positions, whichever ranks and halves of
/// the context hold them; an expert has room for capacity_of(sequence length) of each sequence.
struct ExpertQueues {
  int64_t capacity = 0;         ///< of an expert, for one sequence
  std::vector<int64_t> base;    ///< [G * E]: the first row of what each run of tokens sends to an expert
  std::vector<int64_t> ahead;   ///< [G * E]: choices of the same sequence's tokens before the run
  std::vector<int64_t> counts;  ///< [E]: rows for each expert, with those that only fill up
  int64_t num_rows = 0;         ///< sum of counts
  int64_t num_dropped = 0;      ///< choices of this rank that do not count
};

/// `chosen`: [ranks of the context, G, E] choices in each run; a rank's runs are its halves of a sequence
/// (the whole sequence where one rank holds it), sequence by sequence.
ExpertQueues make_queues(const MoeConfig& config, const std::vector<int64_t>& chosen,
                         const ContextShare& share, int64_t num_sequences, int64_t seq_len);

}  // namespace trireme

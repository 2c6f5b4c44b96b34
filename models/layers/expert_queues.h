// ExpertQueues: capacity and order of expert choices, and the permutation of tokens. Integers only.
#pragma once

#include <vector>

#include "models/config/moe_config.h"
#include "parallel/context_parallel/context_parallel.h"

namespace trireme {

/// The rows of a rank's micro-batch as the queues see them: equal runs of tokens, `pieces` of them in each
/// half of a sequence (or whole sequence, where one context-parallel rank holds it), of which this rank
/// passes some.
struct QueueRuns {
  int64_t num_sequences = 0;
  int64_t pieces = 1;
  int64_t run_len = 0;
  Part passed;                 ///< of the runs
  std::vector<int64_t> order;  ///< all experts, in the order in which their rows are to lie
};

/// Tokens of a sequence queue for an expert in the order of their positions, whichever ranks and halves of
/// the context hold them; an expert has room for capacity_of(sequence length) of each sequence.
struct ExpertQueues {
  int64_t capacity = 0;         ///< of an expert, for one sequence
  std::vector<int64_t> base;    ///< [passed runs * E]: the first row of what a run sends to an expert
  std::vector<int64_t> ahead;   ///< [passed runs * E]: choices of the same sequence's tokens before the run
  std::vector<int64_t> counts;  ///< [E]: rows for each expert by its number, with those that only fill up
  int64_t num_rows = 0;         ///< sum of counts
  int64_t num_dropped = 0;      ///< choices of the micro-batch that do not count
};

/// `chosen`: [ranks of the context, runs, E] choices in each run, sequence by sequence.
ExpertQueues make_queues(const MoeConfig& config, const std::vector<int64_t>& chosen,
                         const ContextShare& share, const QueueRuns& runs, int64_t seq_len);

}  // namespace trireme

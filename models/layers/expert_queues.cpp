#include "models/layers/expert_queues.h"

#include <algorithm>
#include <numeric>

namespace trireme {

ExpertQueues make_queues(const MoeConfig& config, const std::vector<int64_t>& chosen,
                         const ContextShare& share, int64_t num_sequences, int64_t seq_len) {
  const int64_t num_experts = config.num_experts, halves = share.size > 1 ? 2 : 1;
  const int64_t num_runs = num_sequences * halves, chunks = share.size * halves;
  const auto index = [&](int64_t run, int64_t e) { return static_cast<size_t>(run * num_experts + e); };
  const auto chosen_in_chunk = [&](int64_t sequence, int64_t chunk, int64_t e) {
    const bool late = chunk >= share.size;
    const int64_t rank = late ? chunks - 1 - chunk : chunk;
    return chosen[index(rank * num_runs + sequence * halves + (late ? 1 : 0), e)];
  };
  const auto own_chunk = [&](int64_t half) { return half == 0 ? share.rank : chunks - 1 - share.rank; };

  ExpertQueues queues;
  queues.capacity = config.capacity_of(seq_len);
  queues.base.resize(static_cast<size_t>(num_runs * num_experts));
  queues.ahead.assign(queues.base.size(), 0);
  const int64_t held = seq_len / share.size, room = std::min(queues.capacity, held);
  const bool pads = config.capacity == CapacityMode::pad;
  for (int64_t e = 0; e < num_experts; ++e) {
    const int64_t begin = queues.num_rows;
    for (int64_t sequence = 0; sequence < num_sequences; ++sequence) {
      const int64_t first = queues.num_rows;
      for (int64_t half = 0; half < halves; ++half) {
        const size_t at = index(sequence * halves + half, e);
        for (int64_t chunk = 0; chunk < own_chunk(half); ++chunk)
          queues.ahead[at] += chosen_in_chunk(sequence, chunk, e);
        const int64_t wanted = chosen_in_chunk(sequence, own_chunk(half), e);
        const int64_t kept = std::clamp<int64_t>(queues.capacity - queues.ahead[at], 0, wanted);
        queues.base[at] = queues.num_rows;
        queues.num_rows += kept;
        queues.num_dropped += wanted - kept;
      }
      if (pads) queues.num_rows = first + room;
    }
    queues.counts.push_back(queues.num_rows - begin);
  }
  return queues;
}

}  // namespace trireme

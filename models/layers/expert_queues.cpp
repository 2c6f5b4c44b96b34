#include "models/layers/expert_queues.h"

#include <algorithm>

namespace trireme {

namespace {

/// How often each run chose each expert, by the places of runs in their sequences.
class Choices {
 public:
  Choices(const std::vector<int64_t>& chosen, const ContextShare& share, const QueueRuns& runs,
          int64_t num_experts)
      : chosen_(chosen),
        share_(share),
        halves_(share.size > 1 ? 2 : 1),
        pieces_(runs.pieces),
        num_runs_(runs.num_sequences * halves_ * pieces_),
        num_experts_(num_experts) {}

  int64_t halves() const { return halves_; }
  int64_t run(int64_t sequence, int64_t half, int64_t piece) const {
    return (sequence * halves_ + half) * pieces_ + piece;
  }
  int64_t of(int64_t run, int64_t e) const { return at(share_.rank, run, e); }
  /// Of the tokens of a sequence that other halves hold before one of this rank's.
  int64_t before(int64_t sequence, int64_t half, int64_t e) const {
    const int64_t chunks = share_.size * halves_, own = half == 0 ? share_.rank : chunks - 1 - share_.rank;
    int64_t sum = 0;
    for (int64_t chunk = 0; chunk < own; ++chunk) {
      const bool late = chunk >= share_.size;
      for (int64_t piece = 0; piece < pieces_; ++piece)
        sum += at(late ? chunks - 1 - chunk : chunk, run(sequence, late ? 1 : 0, piece), e);
    }
    return sum;
  }

 private:
  int64_t at(int64_t rank, int64_t run, int64_t e) const {
    return chosen_[static_cast<size_t>((rank * num_runs_ + run) * num_experts_ + e)];
  }

  const std::vector<int64_t>& chosen_;
  ContextShare share_;
  int64_t halves_, pieces_, num_runs_, num_experts_;
};

}  // namespace

ExpertQueues make_queues(const MoeConfig& config, const std::vector<int64_t>& chosen,
                         const ContextShare& share, const QueueRuns& runs, int64_t seq_len) {
  const int64_t num_experts = config.num_experts;
  const Choices choices(chosen, share, runs, num_experts);
  ExpertQueues queues;
  queues.capacity = config.capacity_of(seq_len);
  queues.base.resize(static_cast<size_t>(runs.passed.size() * num_experts));
  queues.ahead.resize(queues.base.size());
  queues.counts.resize(static_cast<size_t>(num_experts));
  for (const int64_t e : runs.order) {
    const int64_t begin = queues.num_rows;
    for (int64_t sequence = 0; sequence < runs.num_sequences; ++sequence) {
      const int64_t first = queues.num_rows;
      int64_t num_passed = 0;  // tokens of the sequence
      for (int64_t half = 0; half < choices.halves(); ++half) {
        int64_t ahead = choices.before(sequence, half, e);
        for (int64_t piece = 0; piece < runs.pieces; ++piece) {
          const int64_t run = choices.run(sequence, half, piece), wanted = choices.of(run, e);
          const int64_t kept = std::clamp<int64_t>(queues.capacity - ahead, 0, wanted);
          queues.num_dropped += wanted - kept;
          if (runs.passed.begin <= run && run < runs.passed.end) {
            const auto at = static_cast<size_t>((run - runs.passed.begin) * num_experts + e);
            queues.base[at] = queues.num_rows;
            queues.ahead[at] = ahead;
            queues.num_rows += kept;
            num_passed += runs.run_len;
          }
          ahead += wanted;
        }
      }
      if (config.capacity == CapacityMode::pad)
        queues.num_rows = first + std::min(queues.capacity, num_passed);
    }
    queues.counts[static_cast<size_t>(e)] = queues.num_rows - begin;
  }
  return queues;
}

}  // namespace trireme

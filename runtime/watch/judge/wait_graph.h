// Who waits for whom, over all communicators of a job.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/watch/rank_report.h"

namespace trireme::watch {

/// A call that a rank has made and that has not ended.
struct PendingCall {
  int rank = 0;  ///< of the world
  const CommHistory* history = nullptr;
  const CallRecord* call = nullptr;
  std::vector<int> missing = {};  ///< members that have not made it, as ranks of the world
  std::vector<int> left = {};     ///< members whose part has ended

  /// Equal for all that are in one collective, or in one message.
  std::string key() const;
};

class WaitGraph {
 public:
  /// `reports` has one of each rank, at its place, and outlives the graph. A rank in several calls waits in
  /// those of its collectives that come first, and in its messages; in what it sends only where there is
  /// nothing else, since a send need not be waited for. With `by_stacks` one whose main thread is in no call
  /// waits for nobody.
  WaitGraph(std::span<const RankReport> reports, bool by_stacks);

  const std::vector<PendingCall>& pending() const { return pending_; }
  /// What `rank` waits in.
  std::vector<const PendingCall*> calls_of(int rank) const;
  /// Whom `rank` waits for.
  const std::vector<int>& waits_for(int rank) const { return edges_[static_cast<size_t>(rank)]; }
  /// Groups of ranks that wait for nobody outside: one rank, or several that wait for each other. Each in
  /// ascending order.
  std::vector<std::vector<int>> roots() const;

  /// Pairs of ranks that disagree on the order of their calls: the first waits for the second in a
  /// communicator, and has not come to a call that the second has made in another one of both. One of the two
  /// has left out a call, or made one too many.
  struct Disagreement {
    int waiting, other;
    const CommHistory* history;  ///< in which it waits
  };
  std::vector<Disagreement> disagreements() const;

  /// What `rank` has called at the number of `call` on its communicator; null: nothing, or it is not known.
  const CallRecord* at_same_number(int rank, const CommHistory& history, const CallRecord& call) const;

 private:
  const CommHistory* history_of(int rank, uint64_t id) const;
  void add_pending(const RankReport& report);
  void examine(PendingCall& pending) const;
  void examine_message(PendingCall& pending) const;
  bool is_ahead(int other, int rank, uint64_t besides) const;

  std::span<const RankReport> reports_;
  std::vector<std::map<uint64_t, const CommHistory*>> histories_;
  std::vector<PendingCall> pending_;
  std::vector<std::vector<int>> edges_;
};

}  // namespace trireme::watch

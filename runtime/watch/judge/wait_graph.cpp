#include "runtime/watch/judge/wait_graph.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

namespace trireme::watch {

namespace {

/// Tarjan's strongly connected components, each found before those that lead to it.
class Components {
 public:
  explicit Components(const std::vector<std::vector<int>>& edges)
      : edges_(edges), index_(edges.size(), -1), low_(edges.size()), of_(edges.size(), -1) {
    for (size_t node = 0; node < edges.size(); ++node) {
      if (index_[node] < 0) visit(static_cast<int>(node));
    }
  }

  std::vector<std::vector<int>> sinks() {
    std::vector<std::vector<int>> found;
    for (size_t i = 0; i < components_.size(); ++i) {
      const auto stays = [&](int node) {
        return std::ranges::all_of(edges_[static_cast<size_t>(node)], [&](int to) {
          return of_[static_cast<size_t>(to)] == static_cast<int>(i);
        });
      };
      if (std::ranges::all_of(components_[i], stays)) found.push_back(components_[i]);
    }
    for (auto& component : found) std::ranges::sort(component);
    std::ranges::sort(found);
    return found;
  }

 private:
  void visit(int node) {
    const auto at = static_cast<size_t>(node);
    index_[at] = low_[at] = next_++;
    stack_.push_back(node);
    for (const int to : edges_[at]) {
      const auto t = static_cast<size_t>(to);
      if (index_[t] < 0) {
        visit(to);
        low_[at] = std::min(low_[at], low_[t]);
      } else if (of_[t] < 0) {
        low_[at] = std::min(low_[at], index_[t]);
      }
    }
    if (low_[at] != index_[at]) return;
    std::vector<int> component;
    do {
      component.push_back(stack_.back());
      of_[static_cast<size_t>(stack_.back())] = static_cast<int>(components_.size());
      stack_.pop_back();
    } while (component.back() != node);
    components_.push_back(std::move(component));
  }

  const std::vector<std::vector<int>>& edges_;
  std::vector<int> index_, low_, of_, stack_;
  std::vector<std::vector<int>> components_;
  int next_ = 0;
};

int member(const CommHistory& history, int peer) {
  const auto at = static_cast<size_t>(peer);
  return at < history.members.size() ? history.members[at] : -1;
}

/// The other end of a message: its record on the peer's side.
const CallRecord* other_end(const CommHistory& of_peer, const CommHistory& own, const CallRecord& call) {
  const CommKind kind = call.kind == CommKind::send ? CommKind::receive : CommKind::send;
  for (const CallRecord& there : of_peer.calls) {
    if (there.kind == kind && there.peer == own.rank && there.sequence == call.sequence) return &there;
  }
  return nullptr;
}

/// Whether the peer has made a message of this direction with this or a later number.
bool has_come_to(const CommHistory& of_peer, const CommHistory& own, const CallRecord& call) {
  const CommKind kind = call.kind == CommKind::send ? CommKind::receive : CommKind::send;
  return std::ranges::any_of(of_peer.calls, [&](const CallRecord& there) {
    return there.kind == kind && there.peer == own.rank && there.sequence >= call.sequence;
  });
}

}  // namespace

std::string PendingCall::key() const {
  if (!is_point_to_point(call->kind)) return fmt::format("{}#{}", history->id, call->sequence);
  const bool sends = call->kind == CommKind::send;
  return fmt::format("{}:{}>{}#{}", history->id, sends ? history->rank : call->peer,
                     sends ? call->peer : history->rank, call->sequence);
}

WaitGraph::WaitGraph(std::span<const RankReport> reports, bool by_stacks)
    : reports_(reports), histories_(reports.size()), edges_(reports.size()) {
  for (const RankReport& report : reports_) {
    for (const CommHistory& history : report.histories)
      histories_[static_cast<size_t>(report.rank)][history.id] = &history;
  }
  for (const RankReport& report : reports_) {
    const bool waits = !by_stacks || report.waits.value_or(true);
    if (report.presence == Presence::answered && waits) add_pending(report);
  }
  for (PendingCall& pending : pending_) {
    examine(pending);
    auto& edges = edges_[static_cast<size_t>(pending.rank)];
    edges.insert(edges.end(), pending.missing.begin(), pending.missing.end());
  }
  for (auto& edges : edges_) {
    std::ranges::sort(edges);
    const auto [first, last] = std::ranges::unique(edges);
    edges.erase(first, last);
  }
}

void WaitGraph::add_pending(const RankReport& report) {
  std::vector<PendingCall> sends;
  const size_t before = pending_.size();
  for (const CommHistory& history : report.histories) {
    const CallRecord* first = nullptr;  // of the collectives
    for (const CallRecord& call : history.calls) {
      if (call.ended_ns != 0) continue;
      const PendingCall pending{report.rank, &history, &call};
      if (call.kind == CommKind::receive) pending_.push_back(pending);
      if (call.kind == CommKind::send) sends.push_back(pending);
      if (!is_point_to_point(call.kind) && (first == nullptr || call.sequence < first->sequence))
        first = &call;
    }
    if (first != nullptr) pending_.push_back({report.rank, &history, first});
  }
  if (pending_.size() == before) pending_.insert(pending_.end(), sends.begin(), sends.end());
}

const CommHistory* WaitGraph::history_of(int rank, uint64_t id) const {
  const auto at = static_cast<size_t>(rank);
  if (at >= histories_.size()) return nullptr;
  const auto found = histories_[at].find(id);
  return found == histories_[at].end() ? nullptr : found->second;
}

void WaitGraph::examine(PendingCall& pending) const {
  const CallRecord& call = *pending.call;
  if (is_point_to_point(call.kind)) return examine_message(pending);
  for (const int rank : pending.history->members) {
    if (rank == pending.rank || static_cast<size_t>(rank) >= reports_.size()) continue;
    const CommHistory* history = history_of(rank, pending.history->id);
    if (history == nullptr || history->num_collectives <= call.sequence) {
      pending.missing.push_back(rank);
      continue;
    }
    const CallRecord* there = at_same_number(rank, *pending.history, call);
    if (there == nullptr || there->ended_ns != 0) pending.left.push_back(rank);
  }
}

void WaitGraph::examine_message(PendingCall& pending) const {
  const int peer = member(*pending.history, pending.call->peer);
  if (peer < 0 || static_cast<size_t>(peer) >= reports_.size()) return;
  const CommHistory* history = history_of(peer, pending.history->id);
  if (history == nullptr || !has_come_to(*history, *pending.history, *pending.call)) {
    pending.missing.push_back(peer);
    return;
  }
  const CallRecord* there = other_end(*history, *pending.history, *pending.call);
  if (there == nullptr || there->ended_ns != 0) pending.left.push_back(peer);
}

const CallRecord* WaitGraph::at_same_number(int rank, const CommHistory& history,
                                            const CallRecord& call) const {
  const CommHistory* of_rank = history_of(rank, history.id);
  if (of_rank == nullptr) return nullptr;
  if (is_point_to_point(call.kind)) return other_end(*of_rank, history, call);
  for (const CallRecord& there : of_rank->calls) {
    if (!is_point_to_point(there.kind) && there.sequence == call.sequence) return &there;
  }
  return nullptr;
}

// In any communicator of both but this one.
bool WaitGraph::is_ahead(int other, int rank, uint64_t besides) const {
  return std::ranges::any_of(reports_[static_cast<size_t>(other)].histories, [&](const CommHistory& theirs) {
    const CommHistory* own = theirs.id != besides ? history_of(rank, theirs.id) : nullptr;
    return own != nullptr && theirs.num_collectives > own->num_collectives;
  });
}

std::vector<WaitGraph::Disagreement> WaitGraph::disagreements() const {
  std::vector<Disagreement> found;
  for (const PendingCall& pending : pending_) {
    for (const int other : pending.missing) {
      if (is_ahead(other, pending.rank, pending.history->id))
        found.push_back({pending.rank, other, pending.history});
    }
  }
  return found;
}

std::vector<const PendingCall*> WaitGraph::calls_of(int rank) const {
  std::vector<const PendingCall*> calls;
  for (const PendingCall& pending : pending_) {
    if (pending.rank == rank) calls.push_back(&pending);
  }
  return calls;
}

std::vector<std::vector<int>> WaitGraph::roots() const { return Components(edges_).sinks(); }

}  // namespace trireme::watch

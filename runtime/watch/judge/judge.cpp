#include "runtime/watch/judge/judge.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/ranges.h>

#include "runtime/watch/judge/describe.h"
#include "runtime/watch/judge/wait_graph.h"

namespace trireme::watch {

namespace {

using Kind = Verdict::Kind;

class Judgement {
 public:
  Judgement(std::span<const RankReport> reports, int judge, bool by_stacks)
      : reports_(reports), judge_(judge), graph_(reports, by_stacks) {}

  Verdict find() {
    if (!find_absent(Presence::gone, Kind::gone) && !find_silent() && !find_mismatch() && !find_ended() &&
        !find_stalled() && !find_deadlock())
      find_incomplete();
    if (verdict_.kind != Kind::none) verdict_.waits = describe_waits(reports_, graph_);
    return std::move(verdict_);
  }

 private:
  const RankReport& report(int rank) const { return reports_[static_cast<size_t>(rank)]; }
  bool is_over(int rank) const {
    const RankReport& r = report(rank);
    return r.presence == Presence::answered && r.limit > 0 && r.quiet >= r.limit;
  }

  bool blame(Kind kind, std::vector<int> ranks) {
    if (ranks.empty()) return false;
    std::ranges::sort(ranks);
    verdict_.kind = kind;
    verdict_.culprits = std::move(ranks);
    for (const int rank : verdict_.culprits)
      verdict_.lines.push_back(describe_culprit(kind, report(rank), graph_));
    return true;
  }

  bool find_absent(Presence presence, Kind kind) {
    std::vector<int> ranks;
    for (const RankReport& r : reports_) {
      if (r.presence == presence) ranks.push_back(r.rank);
    }
    return blame(kind, std::move(ranks));
  }

  // Where no rank of another host answers, it is not the ranks.
  bool find_silent() {
    std::map<std::string, bool> hosts;  // whether any of its ranks answers
    for (const RankReport& r : reports_) hosts[r.host] |= r.presence != Presence::silent;
    std::vector<std::string> silent;
    for (const auto& [host, answers] : hosts) {
      if (!answers && host != report(judge_).host) silent.push_back(host);
    }
    if (silent.empty()) return find_absent(Presence::silent, Kind::frozen);
    std::vector<int> ranks;
    for (const RankReport& r : reports_) {
      if (std::ranges::find(silent, r.host) != silent.end()) ranks.push_back(r.rank);
    }
    verdict_.kind = Kind::unreachable;
    verdict_.culprits = ranks;
    verdict_.hosts = silent;
    verdict_.hosts.push_back(report(judge_).host);
    for (const std::string& host : silent)
      verdict_.lines.push_back(describe_host(host, report(judge_).host, reports_));
    return true;
  }

  // Ranks whose call at one number is not that of most.
  bool find_mismatch() {
    for (const PendingCall& pending : graph_.pending()) {
      if (!is_over(pending.rank)) continue;
      std::map<std::string, std::vector<int>> by_call;
      const bool is_message = is_point_to_point(pending.call->kind);
      for (const int rank : pending.history->members) {
        const CallRecord* call = rank == pending.rank
                                     ? pending.call
                                     : graph_.at_same_number(rank, *pending.history, *pending.call);
        const bool is_party = !is_message || rank == pending.rank ||
                              rank == pending.history->members[static_cast<size_t>(pending.call->peer)];
        if (call != nullptr && is_party) by_call[comparable(*call)].push_back(rank);
      }
      if (by_call.size() > 1) return blame_minority(Kind::mismatch, by_call, pending);
    }
    return find_shifted();
  }

  // Equal calls of different steps: a rank has left one out before, or made one too many.
  bool find_shifted() {
    for (const PendingCall& pending : graph_.pending()) {
      if (!is_over(pending.rank) || is_point_to_point(pending.call->kind)) continue;
      std::map<std::string, std::vector<int>> by_step;
      for (const int rank : pending.history->members) {
        const CallRecord* call = rank == pending.rank
                                     ? pending.call
                                     : graph_.at_same_number(rank, *pending.history, *pending.call);
        if (call != nullptr)
          by_step[fmt::format("{} in step {}", comparable(*call), call->site.step)].push_back(rank);
      }
      if (by_step.size() > 1) return blame_minority(Kind::mismatch, by_step, pending);
    }
    return false;
  }

  bool blame_minority(Kind kind, const std::map<std::string, std::vector<int>>& by_call,
                      const PendingCall& pending) {
    size_t most = 0, num_most = 0;
    for (const auto& [unused, ranks] : by_call) most = std::max(most, ranks.size());
    for (const auto& [unused, ranks] : by_call) num_most += ranks.size() == most;
    verdict_.kind = kind;
    std::vector<std::pair<size_t, std::string>> lines;  // those to blame last
    for (const auto& [call, ranks] : by_call) {
      lines.emplace_back(ranks.size(), fmt::format("{} called {} as number {} of {}", ranks_text(ranks), call,
                                                   pending.call->sequence, pending.history->name));
      if (ranks.size() == most && num_most == 1) continue;
      verdict_.culprits.insert(verdict_.culprits.end(), ranks.begin(), ranks.end());
    }
    std::ranges::stable_sort(lines, std::greater(), [](const auto& line) { return line.first; });
    for (auto& [unused, line] : lines) verdict_.lines.push_back(std::move(line));
    std::ranges::sort(verdict_.culprits);
    return true;
  }

  bool find_ended() {
    std::vector<int> ranks;
    for (const PendingCall& pending : graph_.pending()) {
      if (!is_over(pending.rank)) continue;
      for (const int rank : pending.missing) {
        if (report(rank).presence == Presence::ended) ranks.push_back(rank);
      }
    }
    std::ranges::sort(ranks);
    ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
    return blame(Kind::ended, std::move(ranks));
  }

  bool find_stalled() {
    std::vector<int> ranks;
    for (const auto& root : graph_.roots()) {
      if (root.size() == 1 && is_over(root[0]) && graph_.calls_of(root[0]).empty()) ranks.push_back(root[0]);
    }
    return blame(Kind::stalled, std::move(ranks));
  }

  // Ranks that wait for each other. Who of them has left out a call, or made one too many, is best known by
  // those who disagree on the order; else it is those that are not where most ranks of the job are.
  bool find_deadlock() {
    std::vector<int> circle;
    for (const auto& root : graph_.roots()) {
      const bool is_stuck =
          root.size() > 1 && std::ranges::all_of(root, [&](int rank) { return is_over(rank); });
      if (is_stuck) circle.insert(circle.end(), root.begin(), root.end());
    }
    if (circle.empty()) return false;
    std::vector<int> ranks = out_of_order(circle);
    if (ranks.empty()) ranks = elsewhere(circle);
    return blame(Kind::deadlock, ranks.empty() ? circle : ranks);
  }

  std::vector<int> out_of_order(const std::vector<int>& circle) const {
    const auto is_in_circle = [&](int rank) { return std::ranges::find(circle, rank) != circle.end(); };
    std::map<std::pair<int, int>, std::set<int>> by_pair;  // those of whom one group or another says it
    for (const auto& [waiting, other, history] : graph_.disagreements()) {
      if (!is_in_circle(waiting) || !is_in_circle(other)) continue;
      std::set<int>& odd = by_pair[std::minmax({waiting, other})];
      if (const int one = odd_one(waiting, other, *history); one >= 0) odd.insert(one);
    }
    std::map<int, size_t> votes;
    size_t most = 0;
    for (const auto& [pair, odd] : by_pair) {
      for (const int rank : odd.size() == 1 ? odd : further_of(pair.first, pair.second))
        most = std::max(most, ++votes[rank]);
    }
    std::vector<int> ranks;
    for (const auto& [rank, number] : votes) {
      if (number == most) ranks.push_back(rank);
    }
    return ranks;
  }

  // Groups of one name carry as many calls on all ranks: whose number is not that of most? -1: not known.
  int odd_one(int waiting, int other, const CommHistory& group) const {
    std::map<int64_t, size_t> counts;
    std::map<int, int64_t> of_rank;
    for (const RankReport& r : reports_) {
      for (const CommHistory& history : r.histories) {
        if (history.name != group.name) continue;
        ++counts[history.num_collectives];
        of_rank[r.rank] = history.num_collectives;
      }
    }
    const size_t as_waiting = counts[of_rank[waiting]], as_other = counts[of_rank[other]];
    return as_waiting == as_other ? -1 : as_waiting > as_other ? other : waiting;
  }

  // The one that is further in its work has left out the call that the other waits in; both, where that is
  // not known.
  std::set<int> further_of(int one, int other) const {
    const auto place = [&](int rank) { return std::pair(report(rank).site.step, report(rank).site.phase); };
    if (place(one) == place(other)) return {one, other};
    return {place(one) > place(other) ? one : other};
  }

  std::vector<int> elsewhere(const std::vector<int>& circle) const {
    std::map<std::string, std::set<int>> by_call;
    for (const PendingCall& pending : graph_.pending()) by_call[pending.key()].insert(pending.rank);
    std::vector<size_t> sizes;  // how many are where a rank is
    for (const int rank : circle) {
      size_t largest = 0;
      for (const PendingCall* call : graph_.calls_of(rank))
        largest = std::max(largest, by_call[call->key()].size());
      sizes.push_back(largest);
    }
    std::vector<int> ranks;
    for (size_t i = 0; i < circle.size(); ++i) {
      if (sizes[i] < *std::ranges::max_element(sizes)) ranks.push_back(circle[i]);
    }
    return ranks;
  }

  // Calls that all have made.
  void find_incomplete() {
    std::map<std::string, std::vector<const PendingCall*>> by_call;
    for (const PendingCall& pending : graph_.pending()) {
      if (pending.missing.empty()) by_call[pending.key()].push_back(&pending);
    }
    const std::vector<const PendingCall*>* worst = nullptr;
    for (const auto& [unused, calls] : by_call) {
      const bool is_stuck =
          std::ranges::all_of(calls, [&](const PendingCall* p) { return is_over(p->rank); });
      if (is_stuck && (worst == nullptr || calls.size() > worst->size())) worst = &calls;
    }
    if (worst == nullptr) return;
    const PendingCall& first = *worst->front();
    // Whoever sends, or is the root, may well be done before the others.
    const bool may_leave = is_point_to_point(first.call->kind) || first.call->kind == CommKind::broadcast;
    if (!may_leave && !first.left.empty() && first.left.size() <= worst->size()) {
      verdict_.kind = Kind::left;
      verdict_.culprits = first.left;
      verdict_.lines = {describe_left(first)};
      return;
    }
    verdict_.kind = Kind::network;
    std::set<std::string> hosts;
    for (const PendingCall* pending : *worst) {
      verdict_.culprits.push_back(pending->rank);
      hosts.insert(report(pending->rank).host);
    }
    if (may_leave) {
      for (const int rank : first.left) hosts.insert(report(rank).host);
    }
    verdict_.hosts.assign(hosts.begin(), hosts.end());
    std::ranges::sort(verdict_.culprits);
    verdict_.lines = {describe_incomplete(first, verdict_.culprits, verdict_.hosts)};
  }

  std::span<const RankReport> reports_;
  int judge_;
  WaitGraph graph_;
  Verdict verdict_;
};

}  // namespace

// What is in flight need not be waited for: where all seem to wait, stacks say who does not.
Verdict judge(std::span<const RankReport> reports, int judge) {
  Verdict verdict = Judgement(reports, judge, false).find();
  const bool all_wait =
      verdict.kind == Kind::deadlock || verdict.kind == Kind::left || verdict.kind == Kind::network;
  const bool stacks_differ =
      std::ranges::any_of(reports, [](const RankReport& r) { return !r.waits.value_or(true); });
  return all_wait && stacks_differ ? Judgement(reports, judge, true).find() : verdict;
}

std::string_view to_string(Verdict::Kind kind) {
  constexpr std::string_view kNames[] = {"none",  "gone",    "unreachable", "frozen", "mismatch",
                                         "ended", "stalled", "deadlock",    "left",   "network"};
  return kNames[static_cast<size_t>(kind)];
}

}  // namespace trireme::watch

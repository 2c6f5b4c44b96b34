#include "runtime/watch/judge/describe.h"

#include <algorithm>
#include <map>

#include <fmt/ranges.h>

namespace trireme::watch {

namespace {

std::string in_call(const PendingCall& pending) {
  const std::string arguments = call_arguments(*pending.call);
  const std::string site = to_string(pending.call->site);
  return fmt::format("{} ({}{}{})", call_name(*pending.history, *pending.call), arguments,
                     arguments.empty() ? "" : "; ", site);
}

std::string process_text(const RankReport& report) {
  return fmt::format("host {}, process {}{}{}", report.host, report.pid, report.detail.empty() ? "" : ": ",
                     report.detail);
}

}  // namespace

std::string ranks_text(std::span<const int> ranks) {
  std::vector<std::string> runs;
  for (size_t begin = 0, end = 0; begin < ranks.size(); begin = end) {
    for (end = begin + 1; end < ranks.size() && ranks[end] == ranks[end - 1] + 1;) ++end;
    runs.push_back(end == begin + 1 ? fmt::to_string(ranks[begin])
                                    : fmt::format("{}-{}", ranks[begin], ranks[end - 1]));
  }
  constexpr size_t kMostRuns = 12;
  const bool is_cut = runs.size() > kMostRuns;
  runs.resize(std::min(runs.size(), kMostRuns));
  return fmt::format("rank{} {}{}", ranks.size() > 1 ? "s" : "", fmt::join(runs, ", "),
                     is_cut ? ", ..." : "");
}

std::string comparable(const CallRecord& call) {
  CallRecord same = call;
  if (is_point_to_point(call.kind)) same.kind = CommKind::send;  // the two ends of a message
  if (call.kind == CommKind::all_to_all_v) same.count = -1;      // any
  if (call.kind != CommKind::broadcast) same.peer = -1;
  const std::string arguments = call_arguments(same);
  const std::string_view name = is_point_to_point(call.kind) ? "a message" : to_string(same.kind);
  return arguments.empty() ? std::string(name) : fmt::format("{}({})", name, arguments);
}

std::vector<std::string> describe_waits(std::span<const RankReport> reports, const WaitGraph& graph) {
  constexpr size_t kMostLines = 8;
  std::map<std::string, std::vector<const PendingCall*>> by_call;
  for (const PendingCall& pending : graph.pending()) by_call[pending.key()].push_back(&pending);
  std::vector<std::pair<size_t, std::string>> lines;
  for (const auto& [unused, calls] : by_call) {
    std::vector<int> ranks;
    for (const PendingCall* pending : calls) ranks.push_back(pending->rank);
    std::ranges::sort(ranks);
    const std::vector<int>& missing = calls.front()->missing;
    lines.emplace_back(ranks.size(), fmt::format("{} {} in {}{}", ranks_text(ranks),
                                                 ranks.size() > 1 ? "wait" : "waits", in_call(*calls.front()),
                                                 missing.empty() ? "" : " for " + ranks_text(missing)));
  }
  std::ranges::stable_sort(lines, std::greater(), [](const auto& line) { return line.first; });
  std::vector<std::string> texts;
  for (const auto& [unused, line] : lines) texts.push_back(line);
  if (texts.size() > kMostLines) {
    const size_t more = texts.size() - kMostLines;
    texts.resize(kMostLines);
    texts.push_back(fmt::format("and in {} more calls", more));
  }
  for (const RankReport& report : reports) {  // those that get on all the same
    if (texts.size() > kMostLines) break;
    if (report.presence == Presence::answered && report.quiet < report.limit)
      texts.push_back(fmt::format("rank {} gets on: {}", report.rank, to_string(report.site)));
  }
  return texts;
}

std::string describe_culprit(Verdict::Kind kind, const RankReport& report, const WaitGraph& graph) {
  const std::string site = to_string(report.site);
  switch (kind) {
    case Verdict::Kind::gone:
      return fmt::format("rank {} is gone ({}); it was in {}", report.rank, process_text(report), site);
    case Verdict::Kind::frozen:
      return fmt::format(
          "rank {} is frozen: its process does not answer ({}); it was heard {:.1f} s ago in {}", report.rank,
          process_text(report), report.quiet, site);
    case Verdict::Kind::ended:
      return fmt::format("rank {} has ended ({}) while others wait for it", report.rank,
                         process_text(report));
    case Verdict::Kind::stalled:
      return fmt::format("rank {} waits for no other rank and makes no progress: {}, for {:.1f} s ({})",
                         report.rank, site, report.quiet, process_text(report));
    default:
      break;
  }
  std::vector<std::string> calls;
  for (const PendingCall* pending : graph.calls_of(report.rank)) {
    calls.push_back(in_call(*pending) +
                    (pending->missing.empty() ? "" : " for " + ranks_text(pending->missing)));
  }
  return fmt::format("rank {} is in {}", report.rank, fmt::join(calls, " and in "));
}

std::string describe_host(const std::string& host, const std::string& judging,
                          std::span<const RankReport> reports) {
  std::vector<int> ranks;
  double quiet = 0;
  for (const RankReport& report : reports) {
    if (report.host != host) continue;
    ranks.push_back(report.rank);
    quiet = std::max(quiet, report.quiet);
  }
  return fmt::format(
      "host {} ({}) does not answer host {}, for {:.1f} s: it is down, or the link between the two is", host,
      ranks_text(ranks), judging, quiet);
}

std::string describe_left(const PendingCall& pending) {
  return fmt::format(
      "{} {} done with {}, in which others still are: it did not take part, or the network lost it",
      ranks_text(pending.left), pending.left.size() > 1 ? "are" : "is", in_call(pending));
}

std::string describe_incomplete(const PendingCall& pending, std::span<const int> ranks,
                                std::span<const std::string> hosts) {
  return fmt::format(
      "{} {} in {}, which all ranks that belong to it have entered and which is not done: the device or the "
      "network "
      "({} {})",
      ranks_text(ranks), ranks.size() > 1 ? "are" : "is", in_call(pending),
      hosts.size() > 1 ? "hosts" : "host", fmt::join(hosts, ", "));
}

}  // namespace trireme::watch

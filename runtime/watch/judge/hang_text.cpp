#include "runtime/watch/judge/hang_text.h"

#include <algorithm>
#include <map>

#include <fmt/ranges.h>

namespace trireme::watch {

namespace {

constexpr size_t kMostGroups = 6;
constexpr size_t kShownFrames = 10;

/// Without the library that it is in.
std::string function_of(const std::string& frame) {
  const size_t end = frame.rfind(" (");
  return end == std::string::npos ? frame : frame.substr(0, end);
}

/// What any thread that waits has at its top says nothing.
bool is_of_system(const std::string& frame) {
  return frame.find("(libc.so") != std::string::npos || frame.find("(libopen-pal") != std::string::npos ||
         frame.find("(libevent") != std::string::npos || frame.find("(mca_") != std::string::npos;
}

std::string stack_line(const StackGroup& group) {
  if (group.frames.empty()) return fmt::format("  stack of {}: not known", ranks_text(group.ranks));
  std::vector<std::string> shown;
  for (const std::string& frame : group.frames) {
    if (shown.empty() || !is_of_system(frame)) shown.push_back(function_of(frame));
    if (shown.size() == kShownFrames) break;
  }
  return fmt::format("  stack of {}: {}", ranks_text(group.ranks), fmt::join(shown, " < "));
}

}  // namespace

std::vector<StackGroup> group_stacks(std::span<const RankReport> reports) {
  std::map<std::string, StackGroup> groups;
  for (const RankReport& report : reports) {
    if (report.presence != Presence::answered) continue;
    const std::vector<std::string> frames =
        report.stacks.empty() ? std::vector<std::string>() : report.stacks[0].frames;
    std::string key;  // threads that wait differ in how they do it from moment to moment
    for (const std::string& frame : frames) {
      if (!is_of_system(frame)) key += function_of(frame) + '\n';
    }
    StackGroup& group = groups[key];
    group.ranks.push_back(report.rank);
    if (group.frames.empty()) group.frames = frames;
  }
  std::vector<StackGroup> sorted;
  for (auto& [unused, group] : groups) sorted.push_back(std::move(group));
  std::ranges::stable_sort(sorted, std::less(), [](const StackGroup& group) { return group.ranks.size(); });
  return sorted;
}

std::string ending_text(const Ending& ending, const std::string& directory,
                        const std::vector<std::string>& witness) {
  const Verdict& verdict = ending.verdict;
  std::vector<std::string> lines;
  if (ending.code == ExitCode::hang) {
    lines.push_back(
        fmt::format("trireme: no progress for {:.1f} s, the limit of --run.hang-limit", ending.stalled));
    for (const std::string& line : verdict.waits) lines.push_back("  " + line);
    std::vector<StackGroup> groups = group_stacks(ending.reports);
    if (groups.size() > kMostGroups) groups.resize(kMostGroups);
    for (const StackGroup& group : groups) lines.push_back(stack_line(group));
    for (const std::string& line : witness) lines.push_back("  NCCL: " + line);
    if (!directory.empty())
      lines.push_back(fmt::format("  calls and stacks of each rank: {}/hang/rank<r>.json", directory));
  }
  lines.push_back(fmt::format("trireme: error: {}", fmt::join(verdict.lines, "; ")));
  return fmt::format("{}\n", fmt::join(lines, "\n"));
}

}  // namespace trireme::watch

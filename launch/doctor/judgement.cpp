#include "launch/doctor/judgement.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace trireme::launch {

namespace {

/// "0-2, 5".
std::string runs_text(std::span<const int> ranks) {
  constexpr size_t kMost = 6;
  std::vector<std::string> runs;
  for (size_t begin = 0, end = 0; begin < ranks.size(); begin = end) {
    for (end = begin + 1; end < ranks.size() && ranks[end] == ranks[end - 1] + 1;) ++end;
    runs.push_back(end == begin + 1 ? fmt::to_string(ranks[begin])
                                    : fmt::format("{}-{}", ranks[begin], ranks[end - 1]));
  }
  const bool cut = runs.size() > kMost;
  runs.resize(std::min(runs.size(), kMost));
  return fmt::format("{}{}", fmt::join(runs, ", "), cut ? ", ..." : "");
}

}  // namespace

std::string place_of(std::span<const int> ranks, std::span<const RankFacts> all) {
  constexpr size_t kMostHosts = 4;
  if (ranks.empty() || all.size() < 2 || ranks.size() == all.size()) return "";
  std::vector<std::string> hosts;
  for (const int rank : ranks) {
    const std::string& host = all[static_cast<size_t>(rank)].host;
    if (std::ranges::find(hosts, host) == hosts.end()) hosts.push_back(host);
  }
  const bool cut = hosts.size() > kMostHosts;
  hosts.resize(std::min(hosts.size(), kMostHosts));
  return fmt::format("rank{} {} ({}{})", ranks.size() > 1 ? "s" : "", runs_text(ranks),
                     fmt::join(hosts, ", "), cut ? ", ..." : "");
}

std::vector<size_t> first_ranks_of_hosts(std::span<const RankFacts> ranks) {
  std::vector<size_t> firsts;
  for (size_t i = 0; i < ranks.size(); ++i) {
    if (ranks[i].local_rank == 0) firsts.push_back(i);
  }
  return firsts;
}

std::string rate_text(double bytes_per_second) {
  if (bytes_per_second >= 1e9) return fmt::format("{:.3g} GB/s", bytes_per_second * 1e-9);
  return fmt::format("{:.3g} MB/s", bytes_per_second * 1e-6);
}

std::string time_text(double seconds) {
  const double size = std::abs(seconds);
  if (size >= 1) return fmt::format("{:.3g} s", seconds);
  if (size >= 1e-3) return fmt::format("{:.3g} ms", seconds * 1e3);
  return fmt::format("{:.3g} us", seconds * 1e6);
}

void Judgement::add(Verdict verdict, int rank, const std::string& text, const std::string& remedy) {
  auto same = std::ranges::find_if(problems_, [&](const Problem& problem) {
    return problem.verdict == verdict && problem.text == text && problem.remedy == remedy;
  });
  if (same == problems_.end()) same = problems_.insert(same, {verdict, text, remedy, {}});
  if (rank >= 0) same->ranks.push_back(rank);
}

std::vector<Finding> Judgement::done(const std::string& otherwise) && {
  if (problems_.empty()) return {{check_, Verdict::ok, otherwise}};
  std::ranges::stable_sort(problems_, std::greater<>(), &Problem::verdict);
  std::vector<Finding> findings;
  for (const Problem& problem : problems_) {
    const std::string place = place_of(problem.ranks, ranks_);
    findings.push_back({check_, problem.verdict,
                        place.empty() ? problem.text : fmt::format("{}: {}", place, problem.text),
                        problem.remedy});
  }
  return findings;
}

}  // namespace trireme::launch

// What travels between ranks.
#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/doctor/judge.h"
#include "launch/doctor/judgement.h"
#include "launch/report/number_text.h"

namespace trireme::launch {

namespace {

/// Slower than this many times the median is worth a word.
constexpr double kOutlier = 3;

/// The middle one, of an even number the larger of the two.
double median_of(std::vector<double> values) {
  std::ranges::sort(values);
  return values.empty() ? 0 : values[values.size() / 2];
}

/// What pairs of hosts are compared with: the median, of an even number the better of the two, of three the
/// best, since one slow host of three spoils two of the pairs (and of four three of six).
double usual_of(std::vector<double> values, bool more_is_better) {
  std::ranges::sort(values);
  if (!more_is_better) std::ranges::reverse(values);
  return values[values.size() == 3 ? 2 : values.size() / 2];
}

std::string ranks_of_group(AllRanks ranks, const AxisFacts& axis) {
  const std::string place = place_of(axis.ranks, ranks);
  return place.empty() ? "all ranks" : place;
}

void judge_results(AllRanks ranks, const AxisFacts& axis, Judgement& judgement) {
  if (axis.num_wrong == 0) return;
  for (const int rank : axis.wrong) {
    judgement.fail(
        rank,
        fmt::format("wrong results of an all-reduce of the {} axis ({}), {} elements over {}", axis.axis,
                    axis.backend, axis.num_wrong, ranks_of_group(ranks, axis)),
        "memory, network or GPU of a host corrupts data, or a library does: leave out one host after the "
        "other (sbatch --exclude), and try another interface (OMPI_MCA_btl_tcp_if_include, "
        "NCCL_SOCKET_IFNAME)");
  }
}

void judge_slow_groups(AllRanks ranks, const std::vector<const AxisFacts*>& groups, Judgement& judgement) {
  std::vector<double> rates;
  for (const AxisFacts* group : groups) rates.push_back(group->bus_bandwidth);
  const double median = median_of(rates);
  if (groups.size() < 3) return;
  const AxisFacts& slowest = **std::ranges::min_element(
      groups, [](const AxisFacts* a, const AxisFacts* b) { return a->bus_bandwidth < b->bus_bandwidth; });
  if (slowest.bus_bandwidth * kOutlier >= median) return;
  judgement.warn(-1,
                 fmt::format("all-reduce of the {} axis: {} over {}, {} in the median of its {} groups",
                             slowest.axis, rate_text(slowest.bus_bandwidth), ranks_of_group(ranks, slowest),
                             rate_text(median), groups.size()),
                 "look at what these ranks share: a host, a switch, a GPU link");
}

std::string pair_text(AllRanks ranks, const LinkFacts& link) {
  return fmt::format("{} and {} (ranks {} and {})", ranks[static_cast<size_t>(link.a)].host,
                     ranks[static_cast<size_t>(link.b)].host, link.a, link.b);
}

/// Whether one host has a part in all slow pairs, and in more than one: its name.
std::string common_host(AllRanks ranks, std::span<const LinkFacts> slow) {
  if (slow.size() < 2) return "";
  for (const int rank : {slow[0].a, slow[0].b}) {
    if (std::ranges::all_of(slow, [&](const LinkFacts& link) { return link.a == rank || link.b == rank; }))
      return ranks[static_cast<size_t>(rank)].host;
  }
  return "";
}

void judge_slow(AllRanks ranks, std::vector<LinkFacts> slow, std::string_view what,
                const std::string& slowest, const std::string& median, Judgement& judgement) {
  const std::string host = common_host(ranks, slow);
  judgement.warn(
      -1,
      fmt::format("{} between {}: {}, usual are {}{}{}", what, pair_text(ranks, slow[0]), slowest, median,
                  slow.size() > 1 ? fmt::format("; {} pairs are slow", slow.size()) : "",
                  host.empty() ? "" : fmt::format(", all of them with {}", host)),
      host.empty()
          ? "check the cable, port and speed of the two (ethtool, ibstat), or leave one out (sbatch "
            "--exclude)"
          : fmt::format("check cable, port and speed of {} (ethtool, ibstat), or leave it out: sbatch "
                        "--exclude={}",
                        host, host));
}

}  // namespace

Findings judge_axes(AllRanks ranks, std::span<const AxisFacts> axes) {
  Judgement judgement("axes", ranks);
  std::vector<std::string> names, texts;
  std::map<std::string, std::vector<const AxisFacts*>> by_axis;
  for (const AxisFacts& axis : axes) {
    judge_results(ranks, axis, judgement);
    if (by_axis[axis.axis].empty()) names.push_back(axis.axis);
    by_axis[axis.axis].push_back(&axis);
  }
  for (const std::string& name : names) {
    const auto& groups = by_axis[name];
    judge_slow_groups(ranks, groups, judgement);
    std::vector<double> rates, latencies;
    for (const AxisFacts* group : groups) {
      rates.push_back(group->bus_bandwidth);
      latencies.push_back(group->latency);
    }
    texts.push_back(fmt::format("{} x {}: {}, {}", name, groups[0]->ranks.size(), rate_text(median_of(rates)),
                                time_text(median_of(latencies))));
  }
  return std::move(judgement).done(
      axes.empty() ? "one rank: nothing to reduce"
                   : fmt::format("all-reduce right over {} ({})", fmt::join(texts, "; "), axes[0].backend));
}

Findings judge_links(AllRanks ranks, std::span<const LinkFacts> links) {
  Judgement judgement("links", ranks);
  if (links.empty()) return std::move(judgement).done("one host");
  std::vector<double> rates, latencies;
  for (const LinkFacts& link : links) {
    rates.push_back(link.bandwidth);
    latencies.push_back(link.latency);
    if (link.num_wrong > 0) {
      judgement.fail(-1, fmt::format("messages between {} arrive changed", pair_text(ranks, link)),
                     "leave one host out after the other (sbatch --exclude); check network cards and memory");
    }
  }
  const double rate = usual_of(rates, true), latency = usual_of(latencies, false);
  std::vector<LinkFacts> slow, late;
  for (const LinkFacts& link : links) {
    if (link.bandwidth * kOutlier < rate) slow.push_back(link);
    if (link.latency > kOutlier * latency) late.push_back(link);
  }
  std::ranges::sort(slow, {}, &LinkFacts::bandwidth);
  std::ranges::sort(late, std::greater<>(), &LinkFacts::latency);
  if (!slow.empty())
    judge_slow(ranks, slow, "bandwidth", rate_text(slow[0].bandwidth), rate_text(rate), judgement);
  if (!late.empty())
    judge_slow(ranks, late, "latency", time_text(late[0].latency), time_text(latency), judgement);
  return std::move(judgement).done(fmt::format("{} of hosts: {}, {} one way are usual",
                                               counted(static_cast<int64_t>(links.size()), "pair"),
                                               rate_text(rate), time_text(latency)));
}

}  // namespace trireme::launch

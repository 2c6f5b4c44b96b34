#include "launch/start/placement.h"

#include <algorithm>
#include <utility>

#include <fmt/ranges.h>

#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

int slots_of(const HostOffer& offer, int cores_per_rank) {
  if (offer.slots > 0) return offer.slots;
  if (offer.gpus > 0) return offer.gpus;
  return std::max(1, offer.cores / std::max(1, cores_per_rank));
}

std::string offers_text(const std::vector<HostOffer>& offers, int cores_per_rank) {
  std::vector<std::string> parts;
  for (const HostOffer& offer : offers)
    parts.push_back(fmt::format("{}:{}", offer.name, slots_of(offer, cores_per_rank)));
  constexpr size_t kMostShown = 16;
  if (parts.size() > kMostShown) {
    parts.resize(kMostShown);
    parts.emplace_back("...");
  }
  return fmt::format("{}", fmt::join(parts, ","));
}

/// Cores for each rank that all hosts can give; 0 where a host has more ranks than cores, or none is known.
int common_cores(const std::vector<HostPart>& hosts) {
  int least = 0;
  for (const HostPart& host : hosts) {
    const int each = host.offer.cores / host.num_ranks;
    if (each == 0) return 0;
    least = least == 0 ? each : std::min(least, each);
  }
  return least;
}

std::string cores_column(const Placement& placement, const RankSpot& spot) {
  if (spot.first_core < 0) return "not bound";
  if (placement.cores_per_rank == 1) return fmt::format("{}", spot.first_core);
  return fmt::format("{}-{}", spot.first_core, spot.first_core + placement.cores_per_rank - 1);
}

}  // namespace

Placement place_ranks(const std::vector<HostOffer>& offers, int num_ranks, int cores_per_rank) {
  Placement placement;
  int total = 0;
  for (const HostOffer& offer : offers) total += slots_of(offer, cores_per_rank);
  const int wanted = num_ranks > 0 ? num_ranks : total;
  if (wanted > total) {
    throw_usage(
        "--ranks {}: the hosts have {} slots ({}); ask for at most {}, or give hosts more: --hosts "
        "h1:RANKS,...",
        wanted, total, offers_text(offers, cores_per_rank), total);
  }
  int next = 0;
  for (const HostOffer& offer : offers) {
    const int here = std::min(slots_of(offer, cores_per_rank), wanted - next);
    if (here == 0) break;
    placement.hosts.push_back({offer, here, next});
    next += here;
  }
  const int most = common_cores(placement.hosts);
  placement.oversubscribed = std::ranges::any_of(placement.hosts, [&](const HostPart& host) {
    return host.offer.cores > 0 && host.num_ranks * std::max(1, cores_per_rank) > host.offer.cores;
  });
  placement.cores_per_rank = placement.oversubscribed         ? 0
                             : cores_per_rank > 0 && most > 0 ? cores_per_rank
                                                              : most;
  for (size_t h = 0; h < placement.hosts.size(); ++h) {
    const HostPart& host = placement.hosts[h];
    for (int local = 0; local < host.num_ranks; ++local) {
      RankSpot spot{host.first_rank + local, static_cast<int>(h), local, -1, -1};
      if (placement.cores_per_rank > 0) spot.first_core = local * placement.cores_per_rank;
      if (host.offer.gpus > 0) spot.gpu = local % host.offer.gpus;
      placement.ranks.push_back(spot);
    }
  }
  return placement;
}

std::string placement_table(const Placement& placement, const std::vector<Coordinates>& coordinates) {
  size_t width = 4;
  for (const HostPart& host : placement.hosts) width = std::max(width, host.offer.name.size());
  std::string text =
      fmt::format("{:>6}  {:<{}}  {:>5}  {:<9}  {:<6}", "rank", "host", width, "local", "cores", "GPU");
  if (!coordinates.empty()) {
    for (const auto& [axis, number] : coordinates.front()) text += fmt::format("  {:>3}", axis);
  }
  text += "\n";
  for (const RankSpot& spot : placement.ranks) {
    const HostPart& host = placement.hosts[static_cast<size_t>(spot.host)];
    std::string line =
        fmt::format("{:>6}  {:<{}}  {:>5}  {:<9}  {:<6}", spot.rank, host.offer.name, width, spot.local_rank,
                    cores_column(placement, spot), spot.gpu < 0 ? "-" : fmt::format("cuda:{}", spot.gpu));
    if (!coordinates.empty()) {
      for (const auto& [axis, number] : coordinates[static_cast<size_t>(spot.rank)])
        line += fmt::format("  {:>3}", number);
    }
    text += line + "\n";
  }
  return text;
}

}  // namespace trireme::launch

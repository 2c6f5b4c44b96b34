#include "launch/preflight/thread_advice.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <thread>

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include "runtime/base/philox.h"
#include "runtime/device/cpu/cpu_device.h"

namespace trireme::launch {

namespace {

/// Equal in all containers of a machine, whose processors they share, and on no two machines.
uint64_t this_host() {
  std::string id;
  if (std::ifstream("/proc/sys/kernel/random/boot_id") >> id) return hash_name(id);
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  return hash_name(name);
}

std::string cores_text(double cores) { return fmt::format("{:.3g} core{}", cores, cores == 1 ? "" : "s"); }

}  // namespace

CoresGiven cores_given() {
  const int allowed = cpu::num_available_cores();
  const auto machine = static_cast<int>(std::thread::hardware_concurrency());
  return {std::max(machine, allowed), allowed, cpu::cpu_quota()};
}

int default_threads(const CoresGiven& cores, int local_ranks) {
  int threads = cores.is_bound() ? cores.allowed : cores.allowed / local_ranks;
  if (cores.quota.cores > 0) threads = std::min(threads, static_cast<int>(cores.quota.cores / local_ranks));
  return std::max(1, threads);
}

bool is_oversubscribed(const CoresGiven& cores, int local_ranks, int threads) {
  // Ranks that are bound have other cores each, as far as one of them can see.
  if (threads > cores.allowed) return true;
  if (!cores.is_bound() && threads * local_ranks > cores.allowed) return true;
  return cores.quota.cores > 0 && threads * local_ranks > cores.quota.cores;
}

RankThreads rank_threads(int threads) {
  const CoresGiven cores = cores_given();
  RankThreads mine;
  mine.host = this_host();
  mine.threads = threads;
  mine.machine = cores.machine;
  mine.quota = cores.quota.cores;
  cpu_set_t set;
  CPU_ZERO(&set);
  static_assert(sizeof set <= sizeof mine.mask);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) std::memcpy(mine.mask.data(), &set, sizeof set);
  return mine;
}

std::vector<HostThreads> host_threads(std::span<const RankThreads> ranks) {
  std::vector<HostThreads> hosts;
  std::vector<std::array<uint64_t, 16>> masks;
  for (size_t i = 0; i < ranks.size(); ++i) {
    const RankThreads& rank = ranks[i];
    size_t h = 0;
    while (h < hosts.size() && hosts[h].host != rank.host) ++h;
    if (h == hosts.size()) {
      hosts.push_back({.host = rank.host, .first_rank = static_cast<int>(i), .machine = rank.machine});
      masks.emplace_back();
    }
    HostThreads& host = hosts[h];
    ++host.num_ranks;
    host.threads += rank.threads;
    // Groups may differ; what they grant is not known to add up.
    host.quota = std::max(host.quota, rank.quota);
    for (size_t w = 0; w < masks[h].size(); ++w) masks[h][w] |= rank.mask[w];
  }
  for (size_t h = 0; h < hosts.size(); ++h) {
    for (const uint64_t word : masks[h]) hosts[h].allowed += std::popcount(word);
    hosts[h].allowed = std::max(hosts[h].allowed, 1);
  }
  return hosts;
}

std::string thread_warning(std::span<const HostThreads> hosts) {
  std::string text;
  int others = 0;
  for (const HostThreads& host : hosts) {
    if (host.threads <= host.cores()) continue;
    if (!text.empty()) {
      ++others;
      continue;
    }
    const bool by_quota = host.cores() < host.allowed;
    const std::string limit =
        by_quota ? fmt::format("its control group allows {}", cores_text(host.cores()))
        : host.allowed < host.machine
            ? fmt::format("they may use {} of its {}", cores_text(host.allowed), host.machine)
            : fmt::format("it has {}", cores_text(host.allowed));
    const int fit = static_cast<int>(host.cores()) / host.num_ranks;
    text = fmt::format(
        "{} rank{} of the host of rank {} use {} threads, but {}: cores are oversubscribed and steps "
        "are slower. {}",
        host.num_ranks, host.num_ranks == 1 ? "" : "s", host.first_rank, host.threads, limit,
        fit >= 1 ? fmt::format("--run.threads {} fits", fit)
                 : fmt::format("Start at most {} with --run.threads 1",
                               std::max(1, static_cast<int>(host.cores()))));
    if (host.allowed < host.machine && !by_quota)
      text += ", or bind the ranks to more cores (mpirun --bind-to none)";
  }
  if (others > 0) text += fmt::format("; {} other hosts are oversubscribed too", others);
  return text;
}

}  // namespace trireme::launch

// Directories, clocks, environment, and what differs between ranks.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/doctor/judge.h"
#include "launch/doctor/judgement.h"
#include "launch/report/number_text.h"

namespace trireme::launch {

namespace {

std::string room_text(int64_t bytes) { return short_bytes(static_cast<double>(bytes)); }

void judge_directory(const RankFacts& rank, const DiskFacts& disk, Judgement& judgement) {
  constexpr double kSlow = 50e6;  // bytes a second: a checkpoint of 1 GB takes 20 s
  constexpr int64_t kLittle = int64_t{10} << 30, kNone = int64_t{100} << 20;
  const std::string name = fmt::format("{} {}", disk.purpose, disk.path);
  const std::string elsewhere = disk.purpose == "temporary directory" ? "TMPDIR" : "--run.dir";
  if (!disk.error.empty()) {
    const bool is_stale = disk.error.find("tale file handle") != std::string::npos;
    judgement.fail(rank.rank, fmt::format("{}: {}", name, disk.error),
                   is_stale ? "mount it anew on this host (umount -l, mount)"
                            : fmt::format("make it writable, or use another by {}", elsewhere));
    return;
  }
  if (disk.free_bytes < kNone) {
    judgement.fail(rank.rank, fmt::format("{} has {} left", name, room_text(disk.free_bytes)),
                   fmt::format("free some, or use another by {}", elsewhere));
  } else if (disk.free_bytes < kLittle) {
    judgement.warn(
        rank.rank, fmt::format("{} has {} left", name, room_text(disk.free_bytes)),
        fmt::format("free some, or use another by {}; --checkpoint.keep says how many are kept", elsewhere));
  }
  if (disk.tried_bytes > 0 && (disk.write_rate < kSlow || disk.read_rate < kSlow)) {
    judgement.warn(
        rank.rank,
        fmt::format("{} ({}) writes {} and reads {}, below {}", name, disk.type, rate_text(disk.write_rate),
                    rate_text(disk.read_rate), rate_text(kSlow)),
        fmt::format("use a faster file system by {}, or save less often (--checkpoint.minutes)", elsewhere));
  }
}

/// How far apart clocks of hosts may be: log lines that are compared, and munge's credentials.
constexpr double kClockWarn = 1, kClockFail = 240;

/// A variable that is worth a word.
struct Known {
  std::string_view name;
  std::string_view value;  ///< that matters; empty: any
  bool only_hosts;         ///< on several hosts alone
  Verdict verdict;
  std::string_view effect;
};
constexpr Known kKnown[] = {
    {"CUDA_LAUNCH_BLOCKING", "1", false, Verdict::warn, "every kernel is waited for"},
    {"CUDA_DEVICE_MAX_CONNECTIONS", "1", false, Verdict::warn,
     "streams share one queue: communication waits for arithmetic, and two ranks may wait for each other"},
    {"NCCL_P2P_DISABLE", "1", false, Verdict::warn, "GPUs of a host talk through its memory"},
    {"NCCL_SHM_DISABLE", "1", false, Verdict::warn, "GPUs of a host may talk over the network"},
    {"NCCL_IB_DISABLE", "1", false, Verdict::warn, "InfiniBand is not used"},
    {"NCCL_ALGO", "", false, Verdict::warn,
     "sums are added in another order than by default: other last bits"},
    {"NCCL_PROTO", "", false, Verdict::warn,
     "sums are added in another order than by default: other last bits"},
    {"NCCL_DEBUG", "TRACE", false, Verdict::warn, "every call is logged"},
    {"NCCL_SOCKET_IFNAME", "lo", true, Verdict::fail, "hosts cannot reach each other over this interface"},
    {"OMPI_MCA_btl_tcp_if_include", "lo", true, Verdict::fail,
     "hosts cannot reach each other over this interface"},
    {"ONEDNN_MAX_CPU_ISA", "", false, Verdict::warn,
     "products use fewer instructions than there are: slower, other last bits"},
    {"DNNL_MAX_CPU_ISA", "", false, Verdict::warn,
     "products use fewer instructions than there are: slower, other last bits"},
    {"ONEDNN_DEFAULT_FPMATH_MODE", "", false, Verdict::warn, "fp32 products may be computed in fewer bits"},
    {"DNNL_DEFAULT_FPMATH_MODE", "", false, Verdict::warn, "fp32 products may be computed in fewer bits"},
    {"ONEDNN_VERBOSE", "", false, Verdict::warn, "every product is logged"},
    {"DNNL_VERBOSE", "", false, Verdict::warn, "every product is logged"},
    {"LD_PRELOAD", "", false, Verdict::warn, "another library stands before the program's"},
    {"MALLOC_CHECK_", "", false, Verdict::warn, "every allocation is checked"},
};

std::vector<int> ranks_of(AllRanks ranks) {
  std::vector<int> firsts;
  for (const size_t first : first_ranks_of_hosts(ranks)) firsts.push_back(static_cast<int>(first));
  return firsts;
}

/// The values of `key` that ranks have, most frequent first, with those ranks.
std::vector<std::pair<std::string, std::vector<int>>> values_of(AllRanks ranks, TextByName RankFacts::*texts,
                                                                const std::string& key) {
  std::map<std::string, std::vector<int>> by_value;
  for (const RankFacts& rank : ranks) {
    const auto at = (rank.*texts).find(key);
    by_value[at == (rank.*texts).end() ? "nothing" : at->second].push_back(rank.rank);
  }
  std::vector<std::pair<std::string, std::vector<int>>> values(by_value.begin(), by_value.end());
  std::ranges::stable_sort(values, [](const auto& a, const auto& b) {
    return a.second.size() != b.second.size() ? a.second.size() > b.second.size() : a.second[0] < b.second[0];
  });
  return values;
}

/// "x on ranks 0-2 (a), y on rank 3 (b)"; empty where all are equal.
std::string difference_text(AllRanks ranks, TextByName RankFacts::*texts, const std::string& key) {
  constexpr size_t kMost = 3, kLongest = 100;
  const auto values = values_of(ranks, texts, key);
  if (values.size() < 2) return "";
  std::vector<std::string> parts;
  for (size_t i = 0; i < values.size() && i < kMost; ++i)
    parts.push_back(
        fmt::format("{} on {}", values[i].first.substr(0, kLongest), place_of(values[i].second, ranks)));
  if (values.size() > kMost) parts.push_back(fmt::format("{} more", values.size() - kMost));
  return fmt::format("{}: {}", key, fmt::join(parts, "; "));
}

std::vector<std::string> keys_of(AllRanks ranks, TextByName RankFacts::*texts) {
  std::vector<std::string> keys;
  for (const RankFacts& rank : ranks) {
    for (const auto& [key, value] : rank.*texts) keys.push_back(key);
  }
  std::ranges::sort(keys);
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

}  // namespace

Findings judge_disk(AllRanks ranks, std::span<const SharedFacts> shared) {
  Judgement judgement("disk", ranks);
  std::vector<std::string> texts;
  for (const RankFacts& rank : ranks) {
    for (const DiskFacts& disk : rank.disks) {
      judge_directory(rank, disk, judgement);
      if (rank.rank == 0) {
        texts.push_back(fmt::format("{} ({}) writes {}, reads {}, has {} left", disk.path, disk.type,
                                    rate_text(disk.write_rate), rate_text(disk.read_rate),
                                    room_text(disk.free_bytes)));
      }
    }
  }
  for (const SharedFacts& directory : shared) {
    for (const int rank : directory.missing) {
      judgement.fail(
          rank,
          fmt::format("{} is not the directory of rank 0: files of the run would be in several places",
                      directory.path),
          "use a directory of a file system that all hosts share, by --run.dir");
    }
  }
  return std::move(judgement).done(fmt::format("{}", fmt::join(texts, "; ")));
}

Findings judge_clock(AllRanks ranks, std::span<const ClockFacts> clocks) {
  Judgement judgement("clock", ranks);
  double largest = 0, bound = 0;
  for (const ClockFacts& clock : clocks) {
    const double sure = std::abs(clock.offset) - clock.bound;  // at the least
    if (std::abs(clock.offset) > std::abs(largest)) largest = clock.offset;
    bound = std::max(bound, clock.bound);
    const std::string text =
        fmt::format("its clock is {} {} that of rank 0 (within {})", time_text(std::abs(clock.offset)),
                    clock.offset > 0 ? "ahead of" : "behind", time_text(clock.bound));
    if (sure > kClockFail) {
      judgement.fail(clock.rank, text + ": munge, Slurm's and others' credentials are refused",
                     "synchronise the clocks: chronyc makestep");
    } else if (sure > kClockWarn) {
      judgement.warn(clock.rank, text, "synchronise the clocks: chronyc makestep");
    }
  }
  return std::move(judgement).done(
      clocks.empty() ? "one host"
                     : fmt::format("clocks of {} hosts are within {} of rank 0's (measured within {})",
                                   ranks_of(ranks).size(), time_text(std::abs(largest)), time_text(bound)));
}

Findings judge_environment(AllRanks ranks) {
  Judgement judgement("environment", ranks);
  const bool has_hosts = first_ranks_of_hosts(ranks).size() > 1;
  for (const RankFacts& rank : ranks) {
    for (const Known& known : kKnown) {
      const auto at = rank.environment.find(std::string(known.name));
      if (at == rank.environment.end() || at->second.empty() || (known.only_hosts && !has_hosts)) continue;
      if (!known.value.empty() && at->second != known.value) continue;
      const std::string text = fmt::format("{}={}: {}", known.name, at->second, known.effect);
      const std::string remedy = fmt::format("unset {}", known.name);
      if (known.verdict == Verdict::fail) judgement.fail(rank.rank, text, remedy);
      if (known.verdict == Verdict::warn) judgement.warn(rank.rank, text, remedy);
    }
  }
  std::vector<std::string> set;
  for (const auto& [name, value] : ranks[0].environment) set.push_back(fmt::format("{}={}", name, value));
  return std::move(judgement).done(set.empty() ? "nothing is set that changes numbers or speed"
                                               : fmt::format("set: {}", fmt::join(set, " ")));
}

Findings judge_hosts(AllRanks ranks) {
  Judgement judgement("hosts", ranks);
  for (const std::string& key : keys_of(ranks, &RankFacts::build)) {
    const std::string text = difference_text(ranks, &RankFacts::build, key);
    if (!text.empty())
      judgement.fail(-1, text, "start the same file on all hosts, from a shared file system or copied anew");
  }
  for (const std::string& key : keys_of(ranks, &RankFacts::machine)) {
    const std::string text = difference_text(ranks, &RankFacts::machine, key);
    if (!text.empty()) {
      judgement.warn(-1, text, "use hosts that are alike: speed and last bits may differ between these");
    }
  }
  for (const std::string& key : keys_of(ranks, &RankFacts::environment)) {
    const std::string text = difference_text(ranks, &RankFacts::environment, key);
    if (!text.empty())
      judgement.warn(-1, text,
                     fmt::format("set it for all ranks: mpirun -x {}, or export it before sbatch", key));
  }
  const size_t num_hosts = first_ranks_of_hosts(ranks).size();
  return std::move(judgement).done(fmt::format("{} on {}: same program, libraries, kernel and processor",
                                               counted(static_cast<int64_t>(ranks.size()), "rank"),
                                               counted(static_cast<int64_t>(num_hosts), "host")));
}

}  // namespace trireme::launch

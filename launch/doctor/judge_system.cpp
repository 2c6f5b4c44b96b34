// Shared memory, limits, memory, root, processor settings, debuggers.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/doctor/judge.h"
#include "launch/doctor/judgement.h"
#include "launch/report/number_text.h"

namespace trireme::launch {

namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kGiB = int64_t{1} << 30;

std::string size_text(int64_t bytes) { return short_bytes(static_cast<double>(bytes)); }
bool is_below(int64_t limit, int64_t least) { return limit != kUnlimited && limit < least; }

std::string shell_word(const std::string& path) {
  std::string quoted = "'";
  for (const char c : path) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

void judge_stale(const RankFacts& rank, Judgement& judgement) {
  constexpr size_t kMost = 5;
  const std::vector<StaleSegment>& stale = rank.shm.stale;
  if (stale.empty()) return;
  int64_t bytes = 0;
  std::vector<std::string> paths;
  for (const StaleSegment& segment : stale) {
    bytes += segment.bytes;
    if (paths.size() < kMost) paths.push_back(shell_word(segment.path));
  }
  if (stale.size() > kMost) paths.push_back(fmt::format("# and {} more", stale.size() - kMost));
  judgement.warn(rank.rank,
                 fmt::format("{} in /dev/shm of processes that are gone: {}",
                             counted(static_cast<int64_t>(stale.size()), "segment"), size_text(bytes)),
                 fmt::format("{}rm {}", rank.host.empty() ? "" : fmt::format("on {}: ", rank.host),
                             fmt::join(paths, " ")));
}

void judge_files(const RankFacts& rank, size_t world_size, Judgement& judgement) {
  const auto world = static_cast<int64_t>(world_size);
  const LimitFacts& limits = rank.limits;
  if (is_below(limits.nofile, 64 + world)) {
    judgement.fail(
        rank.rank,
        fmt::format("open files are limited to {}, and {} ranks may need one each", limits.nofile, world),
        fmt::format("ulimit -n {}, or LimitNOFILE= of the service that starts ranks", 1024 + 4 * world));
  } else if (is_below(limits.nofile, 512 + 4 * world)) {
    judgement.warn(rank.rank, fmt::format("open files are limited to {}", limits.nofile),
                   fmt::format("ulimit -n {}", 1024 + 4 * world));
  }
  if (is_below(limits.file_size, int64_t{1} << 62)) {
    const std::string text =
        fmt::format("files are limited to {}: checkpoints may not fit", size_text(limits.file_size));
    if (limits.file_size < kMiB) judgement.fail(rank.rank, text, "ulimit -f unlimited");
    if (limits.file_size >= kMiB) judgement.warn(rank.rank, text, "ulimit -f unlimited");
  }
}

void judge_memory_limits(const RankFacts& rank, Judgement& judgement) {
  const LimitFacts& limits = rank.limits;
  if (limits.has_infiniband && limits.memlock != kUnlimited) {
    const std::string text = fmt::format("locked memory is limited to {}, and InfiniBand locks what it sends",
                                         size_text(limits.memlock));
    const std::string remedy =
        "ulimit -l unlimited: memlock in /etc/security/limits.conf, LimitMEMLOCK=infinity of slurmd's "
        "service";
    if (limits.memlock < 64 * kMiB) judgement.fail(rank.rank, text, remedy);
    if (limits.memlock >= 64 * kMiB) judgement.warn(rank.rank, text, remedy);
  }
  if (limits.address_space != kUnlimited) {
    const std::string text = fmt::format("address space is limited to {}", size_text(limits.address_space));
    const std::string remedy = "ulimit -v unlimited";
    if (rank.gpu.num_visible > 0) judgement.fail(rank.rank, text + ", and CUDA reserves more", remedy);
    if (rank.gpu.num_visible == 0) judgement.warn(rank.rank, text, remedy);
  }
  if (is_below(limits.stack, kMiB)) {
    judgement.warn(rank.rank, fmt::format("stacks are limited to {}", size_text(limits.stack)),
                   "ulimit -s 8192");
  }
}

}  // namespace

Findings judge_shm(AllRanks ranks) {
  Judgement judgement("shm", ranks);
  for (const size_t first : first_ranks_of_hosts(ranks)) {
    const RankFacts& rank = ranks[first];
    const int64_t wanted = 64 * kMiB * rank.local_size;
    if (!rank.shm.is_there) {
      judgement.fail(rank.rank, "/dev/shm is no tmpfs: ranks of this host cannot share memory",
                     "mount -t tmpfs tmpfs /dev/shm; in a container --shm-size 8g or --ipc=host");
    } else if (rank.shm.free_bytes < 8 * kMiB * rank.local_size) {
      judgement.fail(
          rank.rank,
          fmt::format("/dev/shm has {} free of {} for {}", size_text(rank.shm.free_bytes),
                      size_text(rank.shm.bytes), counted(rank.local_size, "rank")),
          "remove what is in it, or mount -o remount,size=50% /dev/shm; in a container --shm-size 8g");
    } else if (rank.shm.free_bytes < wanted) {
      judgement.warn(rank.rank,
                     fmt::format("/dev/shm has {} free of {} for {}: with NCCL they may need {}",
                                 size_text(rank.shm.free_bytes), size_text(rank.shm.bytes),
                                 counted(rank.local_size, "rank"), size_text(wanted)),
                     "mount -o remount,size=50% /dev/shm; in a container --shm-size 8g");
    }
    judge_stale(rank, judgement);
  }
  return std::move(judgement).done(
      fmt::format("/dev/shm has {} free; no stale segments", size_text(ranks[0].shm.free_bytes)));
}

Findings judge_limits(AllRanks ranks) {
  constexpr int64_t kFewProcesses = 1024;
  Judgement judgement("limits", ranks);
  for (const RankFacts& rank : ranks) {
    judge_files(rank, ranks.size(), judgement);
    judge_memory_limits(rank, judgement);
    if (!rank.root.is_root && is_below(rank.limits.nproc, kFewProcesses)) {
      judgement.warn(rank.rank,
                     fmt::format("processes and threads of this user are limited to {}", rank.limits.nproc),
                     "ulimit -u 65536: nproc in /etc/security/limits.conf");
    }
  }
  const LimitFacts& limits = ranks[0].limits;
  return std::move(judgement).done(
      fmt::format("{} open files; core files {}",
                  limits.nofile == kUnlimited ? "any number of" : fmt::to_string(limits.nofile),
                  limits.core == 0 ? "off (ulimit -c unlimited turns them on)" : "on"));
}

Findings judge_memory(AllRanks ranks) {
  Judgement judgement("memory", ranks);
  for (const size_t first : first_ranks_of_hosts(ranks)) {
    const RankFacts& rank = ranks[first];
    if (rank.memory.available == 0) continue;
    const int64_t each = rank.memory.available / rank.local_size;
    const std::string text = fmt::format("{} has {} left for {}", rank.memory.of,
                                         size_text(rank.memory.available), counted(rank.local_size, "rank"));
    const std::string remedy =
        "end what else runs there, or ask for more memory (sbatch --mem=0, docker --memory)";
    if (each < 64 * kMiB) {
      judgement.fail(rank.rank, text, remedy);
    } else if (each < kGiB) {
      judgement.warn(rank.rank, text, remedy);
    }
  }
  const RankFacts& first = ranks[0];
  return std::move(judgement).done(first.memory.available == 0
                                       ? "the system does not say how much is left"
                                       : fmt::format("{} has {} left for {}", first.memory.of,
                                                     size_text(first.memory.available),
                                                     counted(first.local_size, "rank")));
}

Findings judge_root(AllRanks ranks) {
  Judgement judgement("root", ranks);
  for (const RankFacts& rank : ranks) {
    if (rank.root.is_root && !rank.root.is_allowed && rank.mpi.launcher == "none") {
      judgement.warn(rank.rank, "this is root, for whom mpirun starts nothing",
                     "start runs as another user, or in a container export OMPI_ALLOW_RUN_AS_ROOT=1 "
                     "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1");
    }
  }
  return std::move(judgement).done(ranks[0].root.is_root ? "ranks run as root, and may"
                                                         : "ranks do not run as root");
}

Findings judge_cpu(AllRanks ranks) {
  Judgement judgement("cpu", ranks);
  for (const size_t first : first_ranks_of_hosts(ranks)) {
    const RankFacts& rank = ranks[first];
    if (rank.cores.governor == "powersave" || rank.cores.governor == "conservative") {
      judgement.warn(rank.rank, fmt::format("the frequency governor is {}", rank.cores.governor),
                     "cpupower frequency-set -g performance");
    }
    if (rank.cores.huge_pages == "never") {
      judgement.warn(rank.rank, "transparent huge pages are off: large buffers take more address translation",
                     "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
    }
  }
  const CoreFacts& cores = ranks[0].cores;
  return std::move(judgement).done(fmt::format(
      "governor {}, {}huge pages {}", cores.governor.empty() ? "not known" : cores.governor,
      cores.turbo_off ? "turbo off, " : "", cores.huge_pages.empty() ? "not known" : cores.huge_pages));
}

Findings judge_ptrace(AllRanks ranks) {
  Judgement judgement("ptrace", ranks);
  for (const size_t first : first_ranks_of_hosts(ranks)) {
    const RankFacts& rank = ranks[first];
    const bool is_refused = rank.ptrace_scope == 3 || (rank.ptrace_scope > 0 && !rank.may_ptrace);
    if (!is_refused) continue;
    judgement.warn(
        rank.rank,
        fmt::format("kernel.yama.ptrace_scope is {}: no debugger may attach to a rank that hangs (gdb -p, "
                    "py-spy); the program's own stacks do not need it",
                    rank.ptrace_scope),
        rank.ptrace_scope == 3 ? "it takes a reboot with kernel.yama.ptrace_scope=0"
                               : "sysctl kernel.yama.ptrace_scope=0, or attach as root");
  }
  return std::move(judgement).done("debuggers may attach to ranks");
}

}  // namespace trireme::launch

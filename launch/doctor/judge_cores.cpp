// Cores, threads, and GPUs' places.
#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "launch/doctor/judge.h"
#include "launch/doctor/judgement.h"
#include "launch/preflight/thread_advice.h"

namespace trireme::launch {

namespace {

bool is_bound(const RankFacts& rank) {
  return static_cast<int>(rank.cores.allowed.size()) < rank.cores.machine;
}

std::map<uint64_t, std::vector<const RankFacts*>> by_machine(AllRanks ranks) {
  std::map<uint64_t, std::vector<const RankFacts*>> machines;
  for (const RankFacts& rank : ranks) machines[rank.cores.machine_id].push_back(&rank);
  return machines;
}

/// The first bound rank before ranks[i] that has a core of its, too.
const RankFacts* sharing_cores(const std::vector<const RankFacts*>& ranks, size_t i) {
  for (size_t j = 0; j < i; ++j) {
    if (!is_bound(*ranks[j])) continue;
    if (std::ranges::find_first_of(ranks[j]->cores.allowed, ranks[i]->cores.allowed) !=
        ranks[j]->cores.allowed.end()) {
      return ranks[j];
    }
  }
  return nullptr;
}

void judge_machine(const std::vector<const RankFacts*>& ranks, Judgement& judgement) {
  for (size_t i = 0; i < ranks.size(); ++i) {
    const RankFacts& rank = *ranks[i];
    const CoreFacts& cores = rank.cores;
    if (!is_bound(rank)) {
      if (ranks.size() > 1 && cores.numa_nodes > 1) {
        judgement.warn(rank.rank,
                       fmt::format("not bound to cores, on a machine of {} NUMA nodes", cores.numa_nodes),
                       "mpirun --map-by numa:PE=THREADS --bind-to core, or srun --cpu-bind=cores");
      }
      continue;
    }
    if (cores.allowed.size() == 1 && cores.threads > 1) {
      judgement.warn(rank.rank, fmt::format("bound to one core, with {} threads", cores.threads),
                     fmt::format("mpirun --map-by slot:PE={} or --bind-to none; srun --cpus-per-task={}",
                                 cores.threads, cores.threads));
    }
    if (const RankFacts* other = sharing_cores(ranks, i)) {
      judgement.warn(rank.rank, fmt::format("shares cores with rank {} ({})", other->rank, other->host),
                     "start fewer ranks on the machine, or bind each to cores of its own: mpirun --map-by "
                     "slot:PE=THREADS, srun --cpu-bind=cores");
    }
  }
}

void judge_gpus(AllRanks ranks, Judgement& judgement) {
  std::map<std::string, int> owner;
  for (const RankFacts& rank : ranks) {
    const GpuFacts& gpu = rank.gpu;
    if (gpu.index < 0) continue;
    const auto [at, is_first] = owner.emplace(gpu.uuid, rank.rank);
    if (!is_first && !gpu.may_share) {
      judgement.fail(
          rank.rank, fmt::format("has the GPU of rank {} (cuda:{}, {})", at->second, gpu.index, gpu.bus_id),
          "start one rank per GPU (mpirun --map-by ppr:GPUS:node, sbatch --ntasks-per-node=GPUS), or "
          "allow it by --run.share-device");
    }
    constexpr int kSameNode = 10;
    if (gpu.cores_distance > kSameNode) {
      judgement.warn(
          rank.rank,
          fmt::format("its cores are far from its GPU: NUMA distance {}, GPU on node {}", gpu.cores_distance,
                      gpu.numa_node),
          "bind ranks near their GPUs: mpirun --map-by numa --bind-to numa, srun --gpu-bind=closest");
    }
  }
}

RankThreads threads_of(const RankFacts& rank) {
  RankThreads threads;
  threads.host = rank.cores.machine_id;
  threads.threads = rank.cores.threads;
  threads.machine = rank.cores.machine;
  threads.quota = rank.cores.quota;
  for (const int core : rank.cores.allowed) {
    const auto word = static_cast<size_t>(core) / 64;
    if (word < threads.mask.size()) threads.mask[word] |= uint64_t{1} << (core % 64);
  }
  return threads;
}

const std::string* value_of(const RankFacts& rank, const std::string& variable) {
  const auto at = rank.environment.find(variable);
  return at == rank.environment.end() ? nullptr : &at->second;
}

}  // namespace

Findings judge_binding(AllRanks ranks) {
  Judgement judgement("binding", ranks);
  size_t num_bound = 0;
  for (const auto& [id, of_machine] : by_machine(ranks)) judge_machine(of_machine, judgement);
  for (const RankFacts& rank : ranks) num_bound += is_bound(rank);
  judge_gpus(ranks, judgement);
  return std::move(judgement).done(
      num_bound == 0 ? fmt::format("ranks are not bound: {} cores for all", ranks[0].cores.machine)
      : num_bound < ranks.size()
          ? fmt::format("{} of {} ranks have cores of their own", num_bound, ranks.size())
          : fmt::format("each rank has cores of its own: {} of {}", ranks[0].cores.allowed.size(),
                        ranks[0].cores.machine));
}

Findings judge_threads(AllRanks ranks) {
  Judgement judgement("threads", ranks);
  std::vector<RankThreads> threads;
  for (const RankFacts& rank : ranks) threads.push_back(threads_of(rank));
  const std::string warning = thread_warning(host_threads(threads));
  if (!warning.empty()) {
    const size_t end = warning.find(". ");
    judgement.warn(-1, warning.substr(0, end),
                   end == std::string::npos ? "use fewer ranks or threads" : warning.substr(end + 2));
  }
  for (const size_t first : first_ranks_of_hosts(ranks)) {
    const RankFacts& rank = ranks[first];
    if (rank.cores.load > 0.7 * rank.cores.machine + 1) {
      judgement.warn(
          rank.rank,
          fmt::format("other processes compute on this machine: load {:.1f} on {} cores before the start",
                      rank.cores.load, rank.cores.machine),
          "top shows them; leave the machine to the run (sbatch --exclusive)");
    }
  }
  for (const RankFacts& rank : ranks) {
    const std::string* policy = value_of(rank, "OMP_WAIT_POLICY");
    const std::string* spin = value_of(rank, "GOMP_SPINCOUNT");
    const bool is_active = (policy != nullptr && (*policy == "active" || *policy == "ACTIVE")) ||
                           (spin != nullptr && *spin == "infinity");
    if (is_active && !warning.empty() && rank.cores.threads > 1) {
      judgement.warn(
          rank.rank,
          "threads that wait keep their core (OMP_WAIT_POLICY, GOMP_SPINCOUNT), and cores are shared",
          "unset OMP_WAIT_POLICY GOMP_SPINCOUNT: the program sets what fits");
    }
  }
  return std::move(judgement).done(fmt::format("{} thread{} a rank, and cores for all",
                                               ranks[0].cores.threads,
                                               ranks[0].cores.threads == 1 ? "" : "s"));
}

}  // namespace trireme::launch

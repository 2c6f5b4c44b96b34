#include "launch/doctor/judge.h"

#include <algorithm>
#include <utility>

namespace trireme::launch {

Findings judge_local(std::string_view check, AllRanks ranks) {
  static constexpr std::pair<std::string_view, Findings (*)(AllRanks)> kJudges[] = {
      {"mpi", judge_mpi},
      {"cuda", judge_cuda},
      {"binding", judge_binding},
      {"threads", judge_threads},
      {"shm", judge_shm},
      {"limits", judge_limits},
      {"memory", judge_memory},
      {"root", judge_root},
      {"cpu", judge_cpu},
      {"ptrace", judge_ptrace},
      {"environment", judge_environment},
      {"hosts", judge_hosts}};
  const auto* judge = std::ranges::find(kJudges, check, [](const auto& entry) { return entry.first; });
  return judge == std::end(kJudges) ? Findings() : judge->second(ranks);
}

}  // namespace trireme::launch

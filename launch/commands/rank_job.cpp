#include "launch/commands/rank_job.h"

#include <vector>

#include "launch/cli/options/option_table.h"
#include "launch/commands/run_facts.h"
#include "runtime/comm/mpi/mpi_environment.h"

namespace trireme::launch {

RankJob::RankJob(const RunConfig& config, const RankPlace& place) {
  const std::vector<Option> options = all_options();
  ranks = make_world(config.run, place, config_facts(config, options));
  job.world = ranks.world.get();
  job.device = ranks.device;
  job.log = place.log;
  for (const Option& option : options) job.options[option.key()] = option.value.get(config);
  if (place.mpi == nullptr) return;
  for (const MpiHost& host : place.mpi->hosts()) job.hosts.push_back({host.name, host.num_ranks});
  job.local_size = place.mpi->local_size();
}

}  // namespace trireme::launch

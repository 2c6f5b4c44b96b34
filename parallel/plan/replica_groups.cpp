#include "parallel/plan/replica_groups.h"

#include "runtime/base/error.h"
#include "runtime/comm/self/self_communicator.h"

namespace trireme {

ReplicaGroups::ReplicaGroups(Communicator& all, int num_shards) : all_(&all) {
  const int rank = all.rank();
  TRIREME_CHECK(num_shards > 0 && all.size() % num_shards == 0, "{} ranks in groups of {}", all.size(),
                num_shards);
  if (num_shards == all.size()) {
    replicate_ = make_self_communicator(
        "replicas", [&all](std::string_view reason, ExitCode code) { all.abort(reason, code); });
    return;
  }
  shard_ = all.split(rank / num_shards, rank % num_shards, "shard");
  replicate_ = all.split(rank % num_shards, rank / num_shards, "replicas");
}

}  // namespace trireme

#include "parallel/plan/sharing_ranks.h"

#include "runtime/base/error.h"
#include "runtime/comm/self/self_communicator.h"

namespace trireme {

SharingRanks::SharingRanks(Communicator& all, int shard_size) : all_(&all) {
  const int rank = all.rank();
  TRIREME_CHECK(shard_size > 0 && all.size() % shard_size == 0, "{} ranks in groups of {}", all.size(),
                shard_size);
  if (shard_size == all.size()) {
    replicas_ = make_self_communicator(
        "replicas", [&all](std::string_view reason, ExitCode code) { all.abort(reason, code); });
    return;
  }
  shard_ = all.split(rank / shard_size, rank % shard_size, "shard");
  replicas_ = all.split(rank % shard_size, rank / shard_size, "replicas");
}

}  // namespace trireme

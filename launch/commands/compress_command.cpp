// trireme compress: from arguments to launch/compress.
#include <cstdio>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/cli/run_arguments.h"
#include "launch/commands/commands.h"
#include "launch/commands/rank_world.h"
#include "launch/compress/compress.h"
#include "launch/compress/compress_options.h"
#include "launch/config/attention_choice.h"
#include "launch/process/stop_request.h"
#include "runtime/comm/mpi/mpi_environment.h"

namespace trireme::launch {

namespace {

/// Until the work begins there is nothing to keep, or it is kept already.
EndAtStart end_before_work(int rank) {
  return [rank](int signal) {
    if (rank == 0)
      fmt::print(stderr, "\ntrireme: error: ended by {} before the first step\n", signal_name(signal));
    std::fflush(nullptr);
    MpiEnvironment::abort(exit_code_of_signal(signal));
  };
}

}  // namespace

void run_compress(std::span<const std::string> args, const RankPlace& place) {
  if (asks_for_help(args)) {
    if (place.rank == 0) fmt::print("{}", compress_help());
    return;
  }
  const CompressArguments arguments = parse_compress(args, place.world_size);
  const RunOptions& run = arguments.model.run;
  const StopRequest stop(place.rank, end_before_work(place.rank));
  const Fact facts[] = {{"arguments", fmt::format("compress {}", fmt::join(args, " ")), ""}};
  const RankWorld ranks = make_world(run, place, facts);
  const int local_ranks = place.mpi != nullptr ? place.mpi->local_size() : 1;
  Context ctx(ranks.device, threads_of(run, local_ranks), choose_op_settings(run, ranks.device));
  ctx.set_recorder(ranks.recorder.get());
  compress(ctx, *ranks.world, arguments, local_ranks, stdout);
}

}  // namespace trireme::launch

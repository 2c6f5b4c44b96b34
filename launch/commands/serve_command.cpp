// trireme serve: from arguments to launch/serve.
#include <cstdio>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/cli/help_text.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/commands.h"
#include "launch/commands/rank_world.h"
#include "launch/config/attention_choice.h"
#include "launch/process/stop_request.h"
#include "launch/serve/serve_options.h"
#include "runtime/comm/mpi/mpi_environment.h"

namespace trireme::launch {

namespace {

std::string serve_help() {
  ServeArguments a;
  return fmt::format(
      "usage: trireme serve MODEL [--port N] [options]\n"
      "       mpirun -n RANKS trireme serve MODEL --tp N --pp N [options]\n\n"
      "  trireme serve runs/mine --port 8000\n"
      "  trireme serve SmolLM2-135M-Instruct.Q4_1.gguf --api-key-file keys\n"
      "  curl localhost:8000/v1/completions --json '{{\"prompt\": \"In the beginning\", \"max_tokens\": "
      "20}}'\n\n"
      "Serves a model over HTTP, to many clients at once: /v1/completions and /v1/chat/completions as "
      "OpenAI\n"
      "defines them, /v1/models, /tokenize, /detokenize, /health, /metrics (docs/serving.md). MODEL is a "
      "run\n"
      "directory, a checkpoint, a directory of Hugging Face's transformers, a .safetensors or a GGUF file.\n"
      "SIGTERM or Ctrl-C lets texts end, then the program, with exit code 0; a second one ends it at "
      "once.\n\n"
      "server\n{}\nmodel\n{}",
      help_plain(server_options(a)), help_plain(serving_model_options(a)));
}

/// Until it listens there is nothing to finish.
EndAtStart end_before_listening(int rank) {
  return [rank](int signal) {
    if (rank == 0)
      fmt::print(stderr, "\ntrireme: error: ended by {} before it listened\n", signal_name(signal));
    std::fflush(nullptr);
    MpiEnvironment::abort(exit_code_of_signal(signal));
  };
}

}  // namespace

void run_serve(std::span<const std::string> args, const RankPlace& place) {
  if (asks_for_help(args)) {
    if (place.rank == 0) fmt::print("{}", serve_help());
    return;
  }
  const ServeArguments arguments = parse_serve(args, place.world_size);
  const RunOptions& run = arguments.model.run;
  const StopRequest stop(place.rank, end_before_listening(place.rank));
  const Fact facts[] = {{"arguments", fmt::format("serve {}", fmt::join(args, " ")), ""}};
  const RankWorld ranks = make_world(run, place, facts);
  const int local_ranks = place.mpi != nullptr ? place.mpi->local_size() : 1;
  Context ctx(ranks.device, threads_of(run, local_ranks), choose_op_settings(run, ranks.device));
  ctx.set_recorder(ranks.recorder.get());
  serve(ctx, *ranks.world, arguments, local_ranks);
}

}  // namespace trireme::launch

// Loads a run of trireme train and evaluates its model in any layout:
//   mpirun -n 2 evaluate_run runs/gpt2-3m-bible [--tp 2] [any option of trireme train]
#include <cmath>
#include <cstdio>

#include <trireme/trireme.h>

#include "launch/config/session_options.h"
#include "launch/run/batch_schedule.h"

using namespace trireme;
using namespace trireme::launch;

namespace {

void evaluate(Communicator& world, const std::string& directory, const std::vector<std::string>& options) {
  Context ctx;
  RunConfig config = load_run(directory, options, world.size());
  const TrainingData data = load_training_data(ctx, world, config.data, config.model.vocab_size);
  if (!data.validation) throw UserError(ExitCode::usage, "this run kept no tokens for evaluation");
  config.model.vocab_size = data.vocab_size;
  SessionOptions session_config = session_options(config);
  TrainingSession session(ctx, world, config.parallel, config.model, session_config);

  const BatchReader reader(
      data.validation,
      SampleOrder::sequential(data.validation->num_tokens(), config.train.seq_len, "validation"),
      data.vocab_size);
  const Communicator& replicas = session.parallel().data();
  EvaluationBatches batches(ctx, reader, {replicas.rank(), replicas.size(), session.share()},
                            reader.order().samples_per_epoch(), config.train.micro_batch);
  const BatchTotals totals = session.step().evaluate_from([&] { return batches.next(4); });
  if (world.rank() == 0) {
    std::printf("%.0f tokens, loss %.6f nats, perplexity %.3f\n", totals.weight, totals.mean_loss(),
                std::exp(totals.mean_loss()));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fputs("usage: evaluate_run RUN [OPTION of trireme train...]\n", stderr), 2;
  return run_mpi_ranks("evaluate_run", [&](Communicator& world) {
    evaluate(world, argv[1], {argv + 2, argv + argc});
  });
}

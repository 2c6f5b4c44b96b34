// A family that Trireme does not have, put together from its kinds, trained in every layout that fits the
// ranks:
//   mpirun -n 4 own_family
// The family is StarCoder2's (arXiv 2402.19173): rotary positions and fewer key-value heads as in Llama,
// LayerNorm, GELU and biases as in GPT-2.
#include <cstdio>

#include <trireme/trireme.h>

using namespace trireme;

namespace {

ModelConfig starcoder2(int64_t layers, int64_t hidden, int64_t heads, int64_t vocab) {
  ModelConfig c;
  apply_family(c, ModelFamily::llama);
  c.name = "starcoder2";
  c.norm = NormKind::layer_norm;
  c.activation = ActivationKind::gelu;
  c.bias = BiasKind::all;
  c.tied_embeddings = true;
  c.num_layers = layers;
  c.hidden_size = hidden;
  c.num_heads = heads;
  c.num_kv_heads = heads / 2;
  c.ffn_size = 4 * hidden;
  c.vocab_size = vocab;
  c.max_positions = 64;
  return c;
}

/// The loss after some steps on a sequence that continues by a rule.
double train(Communicator& world, const ParallelPlan& plan) {
  constexpr int64_t kBatch = 8, kSeqLen = 64, kVocab = 61;
  Context ctx;
  TrainingSession session(ctx, world, plan, starcoder2(2, 64, 4, kVocab),
                          {.max_seq_len = kSeqLen, .seed = 1});
  const Communicator& replicas = session.parallel().data();
  double loss = 0;
  for (int step = 0; step < 30; ++step) {
    std::vector<int32_t> tokens, targets;
    for (int64_t b = 0; b < kBatch; ++b) {
      if (b % replicas.size() != replicas.rank()) continue;  // each replica takes its share of the batch
      int64_t token = (17 * step + 5 * b) % kVocab;
      for (int64_t t = 0; t < kSeqLen; ++t) {
        tokens.push_back(static_cast<int32_t>(token));
        token = (3 * token + 1) % kVocab;
        targets.push_back(static_cast<int32_t>(token));
      }
    }
    const auto rows = static_cast<int64_t>(tokens.size());
    MicroBatch batch = make_micro_batch(ctx, rows / kSeqLen, kSeqLen, tokens, targets, session.share());
    PendingStep pending = session.step().forward_backward({&batch, 1});
    loss = pending.totals().mean_loss();
    session.step().apply(std::move(pending), 3e-3);
  }
  return loss;
}

void compare_layouts(Communicator& world) {
  std::vector<ParallelPlan> plans = {{.data = world.size()}};
  if (world.size() == 2 || world.size() == 4) {
    plans.push_back({.data = 1, .tensor = world.size()});
    plans.push_back({.data = world.size() / 2, .pipeline = 2});
  }
  for (const ParallelPlan& plan : plans) {
    const double loss = train(world, plan);
    if (world.rank() == 0) {
      std::printf("dp %d, tp %d, pp %d: loss %.6f\n", plan.data, plan.tensor, plan.pipeline, loss);
    }
  }
}

}  // namespace

int main() { return run_mpi_ranks("own_family", compare_layouts); }

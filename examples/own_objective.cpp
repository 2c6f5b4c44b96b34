// A Transformer of Trireme's trained on an objective of one's own, in every layout that fits the ranks:
//   mpirun -n 2 own_objective
// The objective is the squared hinge over the other tokens (Weston and Watkins, 1999): of a row of logits z
// and its target t the sum over j of max(0, 1 - z_t + z_j)^2.
#include <algorithm>
#include <cstdio>

#include <trireme/trireme.h>

#include "models/layers/objective.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/training/cross_entropy.h"

using namespace trireme;

namespace {

class SquaredHinge final : public Objective {
 public:
  void apply(Context& ctx, const TensorParallel& tensor, const RowLogits& logits, const RowTargets& targets,
             float gradient_scale, const LossSums& sums, const ops::Columns& dlogits) const override {
    const ops::Columns& z = logits.columns;
    const int64_t rows = z.rows();
    const Part own = tensor.part(logits.vocab_size);  // this rank's columns of the vocabulary
    const int32_t* target = targets.ids.data<int32_t>();
    const float* weights = targets.weights ? targets.weights.data<float>() : nullptr;
    const auto has = [&](int64_t row) { return own.begin <= target[row] && target[row] < own.end; };
    const auto over_ranks = [&](std::vector<float> values) {
      const Tensor t = ops::to_device(ctx, values, {rows});
      tensor.group().all_reduce(ctx.stream(), t);
      return ops::to_host<float>(ctx, t);
    };

    std::vector<float> of_target(static_cast<size_t>(rows)), losses(of_target.size()),
        slopes(of_target.size());
    for (int64_t n = 0; n < rows; ++n) {
      if (has(n)) of_target[static_cast<size_t>(n)] = z.row<float>(n)[target[n] - own.begin];
    }
    of_target = over_ranks(of_target);
    for (int64_t n = 0; n < rows; ++n) {
      const auto i = static_cast<size_t>(n);
      const float weight = weights != nullptr ? weights[n] : 1;
      for (int64_t j = 0; j < z.count; ++j) {
        const bool counts = target[n] != ops::kIgnoredTarget && own.begin + j != target[n];
        const float margin = counts ? std::max(0.0f, 1 - of_target[i] + z.row<float>(n)[j]) : 0;
        losses[i] += weight * margin * margin;
        slopes[i] += 2 * weight * margin;
        if (dlogits) dlogits.row<float>(n)[j] = 2 * weight * margin * gradient_scale;
      }
    }
    slopes = over_ranks(slopes);
    for (int64_t n = 0; dlogits && n < rows; ++n) {
      if (has(n))
        dlogits.row<float>(n)[target[n] - own.begin] = -slopes[static_cast<size_t>(n)] * gradient_scale;
    }
    for (const float loss : over_ranks(losses)) *sums.loss.data<double>() += static_cast<double>(loss);
  }
};

/// The loss after some steps on tokens that go on by a rule.
double train(Communicator& world, const ParallelPlan& plan) {
  constexpr int64_t kBatch = 8, kSeqLen = 32, kVocab = 61;
  Context ctx;
  ModelConfig config;
  apply_family(config, ModelFamily::gpt2);
  config.num_layers = 2;
  config.hidden_size = 64;
  config.num_heads = config.num_kv_heads = 4;
  config.ffn_size = 256;
  config.vocab_size = kVocab;
  config.max_positions = kSeqLen;
  TrainingSession session(ctx, world, plan, config,
                          {.seed = 1, .objective = std::make_shared<SquaredHinge>()});
  const Communicator& replicas = session.parallel().data();
  double loss = 0;
  for (int step = 0; step < 15; ++step) {
    std::vector<int32_t> tokens, targets;
    for (int64_t b = replicas.rank(); b < kBatch; b += replicas.size()) {
      int64_t token = (17 * step + 5 * b) % kVocab;
      for (int64_t t = 0; t < kSeqLen; ++t) {
        tokens.push_back(static_cast<int32_t>(token));
        token = (3 * token + 1) % kVocab;
        targets.push_back(static_cast<int32_t>(token));
      }
    }
    const auto samples = static_cast<int64_t>(tokens.size()) / kSeqLen;
    MicroBatch batch = make_micro_batch(ctx, samples, kSeqLen, tokens, targets, session.share());
    PendingStep pending = session.step().forward_backward({&batch, 1});
    loss = pending.totals().mean_loss();
    session.step().apply(std::move(pending), 3e-3);
  }
  return loss;
}

void compare_layouts(Communicator& world) {
  std::vector<int> degrees = {1};
  if (world.size() == 2 || world.size() == 4) degrees.push_back(world.size());
  for (const int tensor : degrees) {
    const double loss = train(world, {.data = world.size() / tensor, .tensor = tensor});
    if (world.rank() == 0) std::printf("dp %d, tp %d: loss %.6f\n", world.size() / tensor, tensor, loss);
  }
}

}  // namespace

int main() { return run_mpi_ranks("own_objective", compare_layouts); }

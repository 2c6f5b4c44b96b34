// Trains with a layer and a loss of its own on 2 ranks, data-parallel:
//   mpirun -n 2 own_layer
// The layer turns each token into a vector by a table (LookUp); the loss is the squared hinge over the other
// tokens (Hinge; Weston and Watkins, 1999). Trireme does the rest: storage, reduction between ranks,
// clipping, AdamW.
#include <algorithm>
#include <cstdio>

#include <trireme/trireme.h>

#include "runtime/ops/embedding.h"
#include "runtime/ops/gemm/gemm.h"

using namespace trireme;

namespace {

constexpr int64_t kVocab = 23, kWidth = 16;

/// [rows, kWidth]: row n is the table's row of token n.
class LookUp final : public Layer {
 public:
  Tensor forward(Context& ctx, const MicroBatch& mb, const Tensor&, Saved& saved) override {
    saved.emplace<Kept>().tokens = mb.tokens;
    Tensor y = Tensor::empty(ctx, {mb.rows(), kWidth}, DType::f32);
    ops::embedding(ctx, mb.tokens, table_.weight, {.total = kVocab}, {}, {}, y);
    return y;
  }
  Tensor backward_input(Context&, const Tensor& dy, Saved& saved) override {
    saved.get<Kept>().dy = dy;
    return {};  // tokens have no gradient
  }
  void backward_weight(Context& ctx, Saved& saved) override {
    const Kept& kept = saved.get<Kept>();
    ops::embedding_backward(ctx, kept.tokens, kept.dy, {.total = kVocab}, table_.gradient);
    saved.clear();
  }
  void collect(std::vector<ParameterBlock*>& blocks) override { blocks.push_back(&table_); }

 private:
  struct Kept {
    Tensor tokens, dy;
  };
  ParameterBlock table_ = single(Parameter::whole("look_up.weight", {kVocab, kWidth}, 0, 0.1f));
};

/// The sum over rows of max(0, 1 - z_target + z_j)^2 over the other tokens j, where z = x W^T. On the host.
class Hinge final : public Layer {
 public:
  Tensor forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) override {
    Tensor z = Tensor::empty(ctx, {mb.rows(), kVocab}, DType::f32);
    ops::linear(ctx, x, weight_.weight, {}, z);
    const int32_t* targets = mb.targets.data<int32_t>();
    double sum = 0;
    for (int64_t row = 0; row < mb.rows(); ++row) {  // z becomes its own gradient
      float* scores = z.data<float>() + row * kVocab;
      const float right = scores[targets[row]];
      float total = 0;
      for (int64_t j = 0; j < kVocab; ++j) {
        const float margin = j == targets[row] ? 0 : std::max(0.0f, 1 - right + scores[j]);
        sum += margin * margin;
        total += scores[j] = 2 * margin * mb.gradient_scale;
      }
      scores[targets[row]] = -total;
    }
    *mb.loss_sum.data<double>() += sum;
    if (mb.training) saved.emplace<Kept>() = {x, z};
    return {};
  }
  Tensor backward_input(Context& ctx, const Tensor&, Saved& saved) override {
    const Kept& kept = saved.get<Kept>();
    Tensor dx = Tensor::empty(ctx, kept.x.shape(), DType::f32);
    ops::linear_backward_input(ctx, kept.dz, weight_.weight, dx);
    return dx;
  }
  void backward_weight(Context& ctx, Saved& saved) override {
    const Kept& kept = saved.get<Kept>();
    ops::linear_backward_weight(ctx, kept.dz, kept.x, weight_.gradient, {});
    saved.clear();
  }
  void collect(std::vector<ParameterBlock*>& blocks) override { blocks.push_back(&weight_); }

 private:
  struct Kept {
    Tensor x, dz;
  };
  ParameterBlock weight_ = single(Parameter::whole("hinge.weight", {kVocab, kWidth}, 0, 0.1f));
};

void train(Communicator& world) {
  Context ctx;
  const ParallelContext parallel(world, {.data = world.size()});
  std::vector<std::unique_ptr<Layer>> layers;
  layers.push_back(std::make_unique<LookUp>());
  layers.push_back(std::make_unique<Hinge>());
  ModelPart part;
  part.chunks.emplace_back(std::move(layers));
  part.storage = std::make_unique<ParameterStorage>(ctx, part.blocks(), DType::f32);
  part.storage->initialize(ctx, 1);
  TrainingStep step(ctx, parallel, part, {});
  for (int i = 0; i <= 100; ++i) {
    std::vector<int32_t> tokens, targets;
    for (int n = 0; n < 64; ++n) {  // each rank has tokens of its own
      const int32_t token = static_cast<int32_t>((64 * (2 * i + world.rank()) + 5 * n) % kVocab);
      tokens.push_back(token);
      targets.push_back(static_cast<int32_t>((7 * token + 2) % kVocab));
    }
    MicroBatch batch = make_micro_batch(ctx, 1, 64, tokens, targets);
    PendingStep pending = step.forward_backward({&batch, 1});
    if (world.rank() == 0 && i % 20 == 0)
      std::printf("step %3d, loss %.4f\n", i, pending.totals().mean_loss());
    step.apply(std::move(pending), 1e-2);
  }
}

}  // namespace

int main() { return run_mpi_ranks("own_layer", train); }

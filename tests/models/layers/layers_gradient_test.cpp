// Every layer's backward pass against finite differences, in both families and with odd sizes.
#include <array>

#include <gtest/gtest.h>

#include "models/families/family.h"
#include "models/layers/distillation.h"
#include "models/transformer/bottleneck_block.h"
#include "models/transformer/transformer.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "parallel/module/distinct_blocks.h"
#include "parallel/module/recompute.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/ops/elementwise.h"
#include "tests/support/gradient_check.h"
#include "tests/support/layers_of.h"
#include "tests/support/tensors.h"

namespace trireme {
namespace {

// One rank holds everything.
Communicator& self() {
  static const auto communicator = make_self_communicator();
  return *communicator;
}
test::LayersOf of(const ModelConfig& config) { return {config, self()}; }

ModelConfig small(ModelFamily family, int64_t heads, int64_t kv_heads, int64_t head_dim) {
  ModelConfig c;
  c.vocab_size = 17;
  c.num_layers = 1;
  c.num_heads = heads;
  c.num_kv_heads = kv_heads;
  c.hidden_size = heads * head_dim;
  c.ffn_size = 19;
  c.max_positions = 8;
  apply_family(c, family);
  return c;
}

std::vector<int32_t> pattern(int64_t n, int32_t modulus, int32_t step) {
  std::vector<int32_t> out(static_cast<size_t>(n));
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<int32_t>(i * static_cast<size_t>(step) % static_cast<size_t>(modulus));
  return out;
}

MicroBatch micro_batch(Context& ctx, int64_t batch, int64_t seq_len) {
  auto targets = pattern(batch * seq_len, 17, 5);
  if (targets.size() > 1) targets[1] = -1;
  return make_micro_batch(ctx, batch, seq_len, pattern(batch * seq_len, 17, 7), targets);
}

// A piece of a block as a layer of its own.
template <class Part>
class Alone final : public Layer {
 public:
  template <class Make>
  explicit Alone(const Make& make) : part_(make()) {}
  Tensor forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) override {
    return part_.forward(ctx, mb, x, saved);
  }
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) override {
    return part_.backward_input(ctx, dy, saved);
  }
  void backward_weight(Context& ctx, Saved& saved) override { part_.backward_weight(ctx, saved); }
  void collect(std::vector<ParameterBlock*>& blocks) override { part_.collect(blocks); }

 private:
  Part part_;
};

// The norm with its residual: x enters both as the branch and, doubled, as the residual path; both outputs
// count.
class NormWithResidual final : public Layer {
 public:
  explicit NormWithResidual(const ModelConfig& c) : norm_(of(c).norm()) {}
  Tensor forward(Context& ctx, const MicroBatch&, const Tensor& x, Saved& saved) override {
    const auto [sum, y] = norm_.forward(ctx, x, x, saved);
    const Tensor out = Tensor::empty(ctx, x.shape(), x.dtype());
    ops::add(ctx, sum, y, out);
    return out;
  }
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) override {
    const Tensor dsum = norm_.backward(ctx, dy, dy, saved);
    ops::scale(ctx, dsum, 2.0f);
    return dsum;
  }
  void backward_weight(Context&, Saved&) override {}
  void collect(std::vector<ParameterBlock*>& blocks) override { norm_.collect(blocks); }

 private:
  Norm norm_;
};

// A whole tied model: the token table is both embedding and head.
class WholeModel final : public Layer {
 public:
  explicit WholeModel(const ModelConfig& c)
      : embedding_(of(c).embedding()), head_(of(c).head(&embedding_.tokens())) {}
  Tensor forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) override {
    auto& parts = saved.emplace<std::array<Saved, 2>>();
    return head_.forward(ctx, mb, embedding_.forward(ctx, mb, x, parts[0]), parts[1]);
  }
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) override {
    auto& parts = saved.get<std::array<Saved, 2>>();
    return embedding_.backward_input(ctx, head_.backward_input(ctx, dy, parts[1]), parts[0]);
  }
  void backward_weight(Context& ctx, Saved& saved) override {
    auto& parts = saved.get<std::array<Saved, 2>>();
    head_.backward_weight(ctx, parts[1]);
    embedding_.backward_weight(ctx, parts[0]);
  }
  void collect(std::vector<ParameterBlock*>& blocks) override {
    embedding_.collect(blocks);
    std::vector<ParameterBlock*> of_head;
    head_.collect(of_head);
    append_new(blocks, of_head);  // which has the table too
  }

 private:
  Embedding embedding_;
  LossHead head_;
};

// Three blocks, the first and the last of which share their weights.
class SharedBlocks final : public Layer {
 public:
  SharedBlocks(Context& ctx, const ModelConfig& c, bool recomputes) {
    const test::LayersOf layers = of(c);
    const auto shared = held(layers.parameters().block(0));
    for (const auto& parameters : {shared, held(layers.parameters().block(1)), shared}) {
      std::unique_ptr<Layer> block(new TransformerBlock(layers.block(ctx, std::ssize(blocks_), parameters)));
      if (recomputes) block = std::make_unique<Recomputed>(std::move(block));
      blocks_.push_back(std::move(block));
    }
  }
  Tensor forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) override {
    auto& parts = saved.emplace<std::array<Saved, 3>>();
    Tensor y = x;
    for (size_t i = 0; i < 3; ++i) y = blocks_[i]->forward(ctx, mb, y, parts[i]);
    return y;
  }
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) override {
    auto& parts = saved.get<std::array<Saved, 3>>();
    Tensor dx = dy;
    for (size_t i = 3; i-- > 0;) dx = blocks_[i]->backward_input(ctx, dx, parts[i]);
    return dx;
  }
  void backward_weight(Context& ctx, Saved& saved) override {
    auto& parts = saved.get<std::array<Saved, 3>>();
    for (size_t i = 0; i < 3; ++i) blocks_[i]->backward_weight(ctx, parts[i]);
  }
  void collect(std::vector<ParameterBlock*>& blocks) override {
    for (const auto& block : blocks_) {
      std::vector<ParameterBlock*> used;
      block->collect(used);
      append_new(blocks, used);
    }
  }

 private:
  std::vector<std::unique_ptr<Layer>> blocks_;
};

void check(Layer& layer, const MicroBatch& mb, int64_t width) {
  Context ctx;
  const test::RandomParameters parameters(ctx, layer, 0.3f);
  const Tensor x = width > 0 ? test::random_tensor(ctx, {mb.rows(), width}, DType::f32, 5) : Tensor();
  test::check_gradients(ctx, layer, mb, x);
}

void check(Layer& layer, int64_t batch, int64_t seq_len, int64_t width) {
  Context ctx;
  check(layer, micro_batch(ctx, batch, seq_len), width);
}

TEST(LayerGradients, Norms) {
  for (const ModelFamily family : {ModelFamily::gpt2, ModelFamily::llama}) {
    for (const int64_t width : {2, 7, 40}) {
      NormWithResidual norm(small(family, 1, 1, width));
      check(norm, 1, 3, width);
    }
  }
}

TEST(LayerGradients, AttentionOfGpt2) {
  for (const int64_t head_dim : {1, 5, 16}) {
    Context ctx;
    Alone<Attention> attention([&] { return of(small(ModelFamily::gpt2, 3, 3, head_dim)).attention(ctx); });
    check(attention, 2, 7, 3 * head_dim);
  }
}

TEST(LayerGradients, AttentionOfLlamaWithGroupedQueries) {
  Context ctx;
  Alone<Attention> attention([&] { return of(small(ModelFamily::llama, 6, 2, 4)).attention(ctx); });
  check(attention, 2, 5, 24);
}

TEST(LayerGradients, FeedForward) {
  Alone<FeedForward> gelu([] { return of(small(ModelFamily::gpt2, 1, 1, 9)).feed_forward(); });
  check(gelu, 1, 5, 9);
  Alone<FeedForward> swiglu([] { return of(small(ModelFamily::llama, 1, 1, 8)).feed_forward(); });
  check(swiglu, 1, 5, 8);
  Alone<FeedForward> gelu_erf([] { return of(small(ModelFamily::neox, 1, 1, 8)).feed_forward(); });
  check(gelu_erf, 1, 5, 8);
}

TEST(LayerGradients, Blocks) {
  Context ctx;
  TransformerBlock gpt2 = of(small(ModelFamily::gpt2, 3, 3, 4)).block(ctx);
  check(gpt2, 2, 5, 12);
  TransformerBlock llama = of(small(ModelFamily::llama, 4, 2, 4)).block(ctx);
  check(llama, 2, 5, 16);
  check(llama, 1, 1, 16);
}

TEST(LayerGradients, BlocksOfQwen3AndGemma2) {
  Context ctx;
  ModelConfig config = small(ModelFamily::qwen3, 4, 2, 4);
  config.given_head_dim = 6;
  TransformerBlock qwen3 = of(config).block(ctx);
  check(qwen3, 2, 5, 16);
  config = small(ModelFamily::gemma2, 4, 2, 4);
  config.given_head_dim = 6;
  config.window = 3;
  config.attention_soft_cap = 0.7;
  TransformerBlock gemma2 = of(config).block(ctx);
  check(gemma2, 2, 7, 16);
}

TEST(LayerGradients, BlocksUnderAWindow) {
  Context ctx;
  for (const int64_t window : {1, 2, 5}) {
    ModelConfig config = small(ModelFamily::mistral, 4, 2, 4);
    config.window = window;
    TransformerBlock mistral = of(config).block(ctx);
    check(mistral, 2, 7, 16);
  }
}

// With documents that begin anywhere, and in rows of a few tokens.
TEST(LayerGradients, BlocksWithAConvolution) {
  Context ctx;
  for (const int64_t kernel : {2, 4}) {
    ModelConfig config = small(kernel == 2 ? ModelFamily::gpt2 : ModelFamily::llama, 3, 3, 4);
    config.convolution = {.kernel = kernel, .every = 1};
    TransformerBlock block = of(config).block(ctx);
    check(block, 2, 7, 12);
    check(block, 1, 1, 12);
    const MicroBatch documents = make_micro_batch(ctx, 2, 7, pattern(14, 17, 7), pattern(14, 17, 5), {}, 6);
    check(block, documents, 12);
  }
}

TEST(LayerGradients, BlocksThatAreNarrowInside) {
  Context ctx;
  for (const bool convolves : {false, true}) {
    ModelConfig config = small(convolves ? ModelFamily::gpt2 : ModelFamily::llama, 3, 1, 4);
    config.bottleneck = {.width = 12, .num_feed_forwards = 2};
    config.hidden_size = 20;
    if (convolves) config.convolution = {.kernel = 3, .every = 1};
    const test::LayersOf layers = of(config);
    BottleneckBlock block(layers.spec.blocks.front(), held(layers.parameters().block(0)), 0,
                          layers.rotary(ctx), layers.tensor, layers.context);
    check(block, 2, 5, 20);
  }
}

// Norms behind the parts alone, and QK norm over whole projections.
TEST(LayerGradients, BlocksOfOlmo2) {
  Context ctx;
  for (const auto& [heads, kv_heads] : {std::pair{4, 2}, {3, 3}}) {
    ModelConfig config = small(ModelFamily::olmo2, heads, kv_heads, 4);
    config.given_head_dim = 6;
    TransformerBlock olmo2 = of(config).block(ctx);
    check(olmo2, 2, 5, config.hidden_size);
    EXPECT_EQ(of(config).parameters().block(0).attention_norm.gain.members.size(), 0u);
  }
}

TEST(LayerGradients, BlocksOfGptNeoxSideBySide) {
  Context ctx;
  ModelConfig config = small(ModelFamily::neox, 3, 3, 4);
  TransformerBlock neox = of(config).block(ctx);
  check(neox, 2, 5, 12);
  config.rotary_dims = 2;
  config.num_kv_heads = 1;
  config.qk_norm = QkNormKind::projection;
  TransformerBlock unusual = of(config).block(ctx);
  check(unusual, 2, 5, 12);
}

TEST(LayerGradients, AttentionWithEachKindOfBias) {
  Context ctx;
  for (const BiasKind bias : {BiasKind::none, BiasKind::qkv, BiasKind::attention, BiasKind::all}) {
    ModelConfig config = small(ModelFamily::qwen2, 4, 2, 4);
    config.bias = bias;
    Alone<Attention> attention([&] { return of(config).attention(ctx); });
    check(attention, 2, 5, 16);
    const AttentionParameters parameters =
        of(config).parameters().attention(of(config).spec.blocks.front().attention, "attention");
    EXPECT_EQ(static_cast<bool>(parameters.qkv.bias), bias != BiasKind::none);
    EXPECT_EQ(static_cast<bool>(parameters.output.bias), bias >= BiasKind::attention);
    TransformerBlock block = of(config).block(ctx);
    check(block, 1, 5, 16);
  }
}

// Of a part of each head, with a factor of attention that is not 1.
TEST(LayerGradients, AttentionWithScaledRotaryPositions) {
  Context ctx;
  for (const RotaryScaling scaling : {RotaryScaling::yarn, RotaryScaling::longrope}) {
    ModelConfig config = small(ModelFamily::llama, 4, 2, 6);
    config.rotary_dims = 4;
    config.rotary_theta = 50;
    config.rotary_scaling = scaling;
    config.rotary_scaling_factor = 4;
    config.rotary_original_positions = 4;
    config.rotary_short_factors = config.rotary_long_factors = {1.5, 3};
    Alone<Attention> attention([&] { return of(config).attention(ctx); });
    check(attention, 2, 7, 24);
  }
}

TEST(LayerGradients, GemmasEmbeddingAndHead) {
  ModelConfig config = small(ModelFamily::gemma2, 1, 1, 6);
  config.logit_soft_cap = 0.8;
  WholeModel model(config);
  check(model, 2, 5, 0);
}

TEST(LayerGradients, BlocksWithSharedWeights) {
  Context ctx;
  for (const bool recomputes : {false, true}) {
    ModelConfig config = small(ModelFamily::gpt2, 3, 3, 4);
    config.num_layers = 3;
    SharedBlocks gpt2(ctx, config, recomputes);
    check(gpt2, 2, 5, 12);
    config = small(ModelFamily::llama, 4, 2, 4);
    config.num_layers = 3;
    SharedBlocks llama(ctx, config, recomputes);
    check(llama, 1, 5, 16);
  }
}

TEST(LayerGradients, Embedding) {
  Embedding learned = of(small(ModelFamily::gpt2, 1, 1, 6)).embedding();
  check(learned, 2, 5, 0);
  Embedding plain = of(small(ModelFamily::llama, 1, 1, 6)).embedding();
  check(plain, 2, 5, 0);
}

TEST(LayerGradients, LossHead) {
  LossHead gpt2 = of(small(ModelFamily::gpt2, 1, 1, 6)).head();
  check(gpt2, 2, 5, 6);
  LossHead llama = of(small(ModelFamily::llama, 1, 1, 6)).head();
  check(llama, 1, 3, 6);
}

// All rows at once, and in parts that do not divide them.
TEST(LayerGradients, LossHeadWithZLossAndLabelSmoothing) {
  ModelConfig capped = small(ModelFamily::gemma2, 1, 1, 6);
  capped.logit_soft_cap = 2;
  for (const int64_t chunk_tokens : {0, 4}) {
    for (const LossConfig& loss : {LossConfig{0.05, 0}, LossConfig{0, 0.3}, LossConfig{0.05, 0.3}}) {
      LossConfig config = loss;
      config.chunk_tokens = chunk_tokens;
      LossHead plain = of(small(ModelFamily::llama, 1, 1, 6)).head(nullptr, config);
      check(plain, 2, 5, 6);
      if (capped.tied_embeddings) capped.tied_embeddings = false;
      LossHead with_cap = of(capped).head(nullptr, config);
      check(with_cap, 2, 5, 6);
    }
  }
}

struct HeadResult {
  double in_training = 0, in_evaluation = 0;
  std::vector<float> dx;
};

HeadResult run_head(const LossConfig& config) {
  Context ctx;
  LossHead head = of(small(ModelFamily::llama, 1, 1, 6)).head(nullptr, config);
  const test::RandomParameters parameters(ctx, head, 0.3f);
  const Tensor x = test::random_tensor(ctx, {10, 6}, DType::f32, 5);
  HeadResult result;
  MicroBatch mb = micro_batch(ctx, 2, 5);
  Saved saved;
  mb.loss_sum = Tensor::borrow(&result.in_training, {1}, DType::f64);
  head.forward(ctx, mb, x, saved);
  result.dx = test::to_vector(head.backward_input(ctx, {}, saved));
  head.backward_weight(ctx, saved);
  mb.training = false;
  mb.loss_sum = Tensor::borrow(&result.in_evaluation, {1}, DType::f64);
  head.forward(ctx, mb, x, saved);
  return result;
}

// Finite differences do not see rows that loss and gradient leave out alike.
TEST(LayerGradients, LossHeadInPartsLeavesOutNoRow) {
  const HeadResult whole = run_head({});
  for (const int64_t chunk_tokens : {1, 3, 4, 9}) {
    const HeadResult parts = run_head({.chunk_tokens = chunk_tokens});
    EXPECT_NEAR(parts.in_training, whole.in_training, 1e-5) << chunk_tokens;
    EXPECT_NEAR(parts.in_evaluation, whole.in_training, 1e-5) << chunk_tokens;
    for (size_t i = 0; i < whole.dx.size(); ++i) ASSERT_NEAR(parts.dx[i], whole.dx[i], 1e-5) << chunk_tokens;
  }
}

TEST(LayerGradients, LossHeadWithWeightsOfTargets) {
  Context ctx;
  const std::vector<float> weights{1, 0.5f, 0, 2, 0.1f, 0, 0, 1.5f, 3, 0.7f};
  const MicroBatch weighted =
      make_micro_batch(ctx, 2, 5, pattern(10, 17, 7), pattern(10, 17, 5), {}, std::nullopt, weights);
  for (const LossConfig& loss : {LossConfig{}, LossConfig{0.05, 0.3}, LossConfig{0.05, 0.3, 4}}) {
    LossHead head = of(small(ModelFamily::llama, 1, 1, 6)).head(nullptr, loss);
    check(head, weighted, 6);
  }
}

// Of few tokens or all, whatever rows they are asked for.
class FixedTeacher final : public TeacherRows {
 public:
  FixedTeacher(RowTeacher all) : all_(std::move(all)) {}
  RowTeacher rows(Context&, int64_t begin, int64_t end) const override {
    RowTeacher part = all_;
    if (part.logits) part.logits = part.logits.slice(begin, end);
    if (part.ids) part.ids = part.ids.slice(begin, end);
    if (part.states) part.states = part.states.slice(begin, end);
    if (part.probabilities) part.probabilities = part.probabilities.slice(begin, end);
    return part;
  }

 private:
  RowTeacher all_;
};

// What is shown and what is added to it are together what the gradient is of.
TEST(LayerGradients, LossHeadWithATeacher) {
  Context ctx;
  const std::vector<float> weights{1, 0.5f, 0, 2, 0.1f, 0, 0, 1.5f, 3, 0.7f};
  MicroBatch mb =
      make_micro_batch(ctx, 2, 5, pattern(10, 17, 7), pattern(10, 17, 5), {}, std::nullopt, weights);
  const Tensor ids = Tensor::empty(ctx, {10, 2}, DType::i32);
  test::write(ids, pattern(20, 17, 3));
  const Tensor half = Tensor::empty(ctx, {10, 2}, DType::f32);
  ops::fill(ctx, half, 0.3);
  const auto logits = std::make_shared<FixedTeacher>(
      RowTeacher{.logits = test::random_tensor(ctx, {10, 17}, DType::f32, 9, 2), .soft_cap = 3});
  const auto few =
      std::make_shared<FixedTeacher>(RowTeacher{.ids = ids,
                                                .probabilities = half,
                                                .has_rest = true,
                                                .states = test::random_tensor(ctx, {10, 6}, DType::f32, 11)});
  for (int kind = 0; kind < 5; ++kind) {
    DistillConfig distill;
    distill.divergence = static_cast<DivergenceKind>(kind);
    distill.temperature = 1.5;
    for (const LossConfig& loss : {LossConfig{0.05, 0.3}, LossConfig{0, 0, 4}}) {
      const test::LayersOf layers = of(small(ModelFamily::llama, 1, 1, 6));
      LossHead head(layers.spec.head, held(layers.parameters().head(false)), nullptr, layers.tensor,
                    std::make_shared<Distillation>(loss, distill), loss);
      for (const auto& teacher : {logits, few}) {
        mb.teacher = teacher;
        check(head, mb, 6);
      }
      distill.hidden_weight = 0.8;
      LossHead matched(layers.spec.head, held(layers.parameters().head(false)), nullptr, layers.tensor,
                       std::make_shared<Distillation>(loss, distill), loss);
      check(matched, mb, 6);
      distill.hidden_weight = 0;
    }
  }
}

TEST(LayerGradients, TiedEmbeddingReceivesBothGradients) {
  WholeModel model(small(ModelFamily::gpt2, 1, 1, 6));
  check(model, 2, 5, 0);
}

}  // namespace
}  // namespace trireme

// Prints logits of small drawn models by way of a cache, a line each: what processors of two kinds are
// compared by (compare.py). Weights are drawn by integers alone, so that they are equal everywhere.
#include <cstdio>
#include <numeric>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/bench/generation/drawn_weights.h"
#include "models/inference/cached_model.h"
#include "models/inference/inference_model.h"
#include "runtime/base/error.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/device/context.h"

namespace {

using namespace trireme;

ModelConfig like_gpt2() {
  ModelConfig c;
  c.name = "gpt2";
  c.vocab_size = 331;
  c.num_layers = 3;
  c.hidden_size = 96;
  c.num_heads = c.num_kv_heads = 4;
  c.ffn_size = 344;
  c.max_positions = 64;
  c.init_std = 0.15;
  return c;
}

ModelConfig like_llama() {
  ModelConfig c = like_gpt2();
  c.name = "llama";
  c.family = ModelFamily::llama;
  c.num_kv_heads = 2;
  c.norm = NormKind::rms_norm;
  c.activation = ActivationKind::swiglu;
  c.positions = PositionKind::rotary;
  c.bias = BiasKind::none;
  c.tied_embeddings = false;
  c.window = 24;
  return c;
}

struct Held {
  const char* name;
  ops::PackedSpec spec;
  ops::Activations activations;
  ops::CacheType cache;
};

void print_logits(const ModelConfig& config, const Held& held) {
  Context ctx({}, 2);
  const auto world = make_self_communicator();
  const launch::DrawnWeights weights(config, std::nullopt);
  InferenceModel model(ctx, *world, weights, config, {.weights = held.spec, .activations = held.activations});
  CachedModel cached(ctx, model.parallel(), model.model(),
                     {.num_blocks = 4, .block_tokens = 16, .type = held.cache});
  std::vector<int32_t> tokens, blocks(4);
  for (int64_t i = 0; i < 47; ++i)
    tokens.push_back(static_cast<int32_t>((7 * i * i + 3 * i + 5) % config.vocab_size));
  std::iota(blocks.begin(), blocks.end(), 0);
  int64_t start = 0;
  for (const int64_t count : {20, 1, 1, 9, 1, 15}) {
    const SequenceChunk chunk{.tokens = std::span<const int32_t>(tokens).subspan(start, count),
                              .start = start,
                              .blocks = blocks,
                              .num_logits = count};
    const Tensor logits = cached.logits(ctx, {&chunk, 1});
    for (int64_t r = 0; r < count; ++r) {
      const std::span<const float> row(logits.data<float>() + r * config.vocab_size, config.vocab_size);
      fmt::print("{}-{}-{} {:.9g}\n", config.name, held.name, start + r, fmt::join(row, " "));
    }
    start += count;
  }
}

}  // namespace

int main() {
  using ops::Activations, ops::CacheType, ops::PackedFormat;
  const Held all[] = {
      {"f32", {PackedFormat::f32}, Activations::exact, CacheType::plain},
      {"f32-cache8", {PackedFormat::f32}, Activations::exact, CacheType::int8},
      {"bf16", {PackedFormat::bf16}, Activations::exact, CacheType::plain},
      {"fp8", {PackedFormat::fp8}, Activations::exact, CacheType::plain},
      {"int8-exact", {PackedFormat::int8, 32}, Activations::exact, CacheType::plain},
      {"int4-exact", {PackedFormat::int4, 64}, Activations::exact, CacheType::plain},
      {"int8", {PackedFormat::int8}, Activations::int8, CacheType::plain},
      {"int4", {PackedFormat::int4, 32}, Activations::int8, CacheType::plain},
      {"int4-zeros", {PackedFormat::int4, 64, false}, Activations::int8, CacheType::plain},
  };
  try {
    for (const ModelConfig& config : {like_gpt2(), like_llama()}) {
      for (const Held& held : all) print_logits(config, held);
    }
  } catch (const Error& error) {
    std::fputs(fmt::format("logits: {}\n", error.what()).c_str(), stderr);
    return static_cast<int>(error.code());
  }
  return 0;
}

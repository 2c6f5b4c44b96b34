// Presets of models for phones and small boards.
#include "models/families/table.h"

#include <string>

namespace trireme {

namespace {

constexpr int64_t kContext = 2048, kVocabulary = 32000;

struct DeepAndThin {
  std::string_view size;
  int64_t layers, hidden, kv_heads, ffn;
};
constexpr DeepAndThin k15m{"15m", 24, 192, 1, 512}, k60m{"60m", 30, 384, 2, 1024},
    k125m{"125m", 30, 576, 3, 1536}, k350m{"350m", 32, 960, 5, 2560};

// MobileLLM (arXiv 2402.14905): many narrow blocks, heads of 64, three to a key-value head, a tied head.
ModelConfig mobilellm(const DeepAndThin& d) {
  ModelConfig config =
      sized_model("mobilellm-" + std::string(d.size), ModelFamily::llama,
                  {d.layers, d.hidden, 3 * d.kv_heads, d.kv_heads, d.ffn, kContext, kVocabulary});
  config.tied_embeddings = true;
  return config;
}

// Its LS models: each block runs twice, once behind the other.
ModelConfig sharing(const DeepAndThin& d) {
  ModelConfig config = mobilellm(d);
  config.name += "-ls";
  config.num_layers = 2 * d.layers;
  for (int64_t i = 0; i < config.num_layers; ++i) config.weights_from.push_back(i / 2 * 2);
  return config;
}

// Every other block has a convolution in the place of attention.
ModelConfig convolving() {
  ModelConfig config = mobilellm(k15m);
  config.name = "convolution-16m";
  config.convolution = {.kernel = 4, .every = 2};
  return config;
}

// MobileBERT (arXiv 2004.02984), decoder-only: 128 wide inside, four feed-forward parts a block.
ModelConfig bottleneck() {
  ModelConfig config = sized_model("mobilebert-33m", ModelFamily::gpt2, {24, 512, 4, 4, 512, 512, 30522});
  config.bottleneck = {.width = 128, .num_feed_forwards = 4};
  return config;
}

}  // namespace

std::vector<Preset> edge_presets() {
  return {
      {mobilellm(k15m), "15.6M, of them 6.1M embedding: deep and thin as MobileLLM"},
      {sharing(k15m), "the same with 48 layers, two by two of one set of weights"},
      {convolving(), "mobilellm-15m with convolutions in the place of every other attention"},
      {bottleneck(), "the shape of MobileBERT (arXiv 2004.02984), decoder-only"},
      {mobilellm(k60m), "59.5M: deep and thin as MobileLLM"},
      {sharing(k60m), "the same with 60 layers, two by two of one set of weights"},
      {mobilellm(k125m), "MobileLLM 125M (arXiv 2402.14905)"},
      {sharing(k125m), "MobileLLM-LS 125M: 60 layers, two by two of one set of weights"},
      {mobilellm(k350m), "MobileLLM 350M"},
      {sharing(k350m), "MobileLLM-LS 350M: 64 layers, two by two of one set of weights"},
  };
}

}  // namespace trireme

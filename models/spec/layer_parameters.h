// The parameters of a model's layers, part by part. A part that a layer does not have is an empty block.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "parallel/module/parameter.h"

namespace trireme {

using ParameterBlocks = std::vector<ParameterBlock*>;

/// Parameters as layers hold them: they live as long as one of the layers that use them.
template <class Parameters>
std::shared_ptr<Parameters> held(Parameters parameters) {
  return std::make_shared<Parameters>(std::move(parameters));
}
/// A part of held ones, which lives as long as the whole.
template <class Whole, class Part>
std::shared_ptr<Part> part_of(const std::shared_ptr<Whole>& whole, Part& part) {
  return {whole, &part};
}

/// collect() appends the blocks there are in the order of the forward pass.
struct LinearParameters {
  ParameterBlock weight, bias;
  ParameterBlock scales;  ///< learned ones of the weight's quantization
  void collect(ParameterBlocks& blocks);
};

struct NormParameters {
  ParameterBlock gain, bias;
  void collect(ParameterBlocks& blocks);
};

struct AttentionParameters {
  LinearParameters qkv;  ///< query, key and value one below the other
  NormParameters query_norm, key_norm;
  LinearParameters output;
  void collect(ParameterBlocks& blocks);
};

struct ConvolutionParameters {
  LinearParameters in;  ///< both gates and the values, one below the other
  ParameterBlock taps;
  LinearParameters output;
  void collect(ParameterBlocks& blocks);
};

struct FeedForwardParameters {
  LinearParameters up;  ///< gate (where it is gated) and up, one below the other
  LinearParameters down;
  void collect(ParameterBlocks& blocks);
};

struct MixtureParameters {
  ParameterBlock router;
  ParameterBlock up, down;  ///< of all experts that the rank holds, one below the other
  ParameterBlock up_scales, down_scales;
  std::optional<FeedForwardParameters> shared;
  void collect(ParameterBlocks& blocks);
};

struct EmbeddingParameters {
  ParameterBlock tokens, positions;
  void collect(ParameterBlocks& blocks);
};

/// What is around the parts of a block that is narrow inside, and the feed-forward parts in it.
struct BottleneckParameters {
  struct Part {
    NormParameters norm;
    FeedForwardParameters feed_forward;
  };
  NormParameters norm;
  LinearParameters in, out;
  std::vector<Part> parts;
};

struct BlockParameters {
  NormParameters attention_norm;
  AttentionParameters attention;  ///< one of the two
  std::optional<ConvolutionParameters> convolution;
  NormParameters attention_post_norm;
  NormParameters ffn_norm;
  std::optional<FeedForwardParameters> feed_forward;  ///< one of the three
  std::optional<MixtureParameters> mixture;
  std::optional<BottleneckParameters> bottleneck;
  NormParameters ffn_post_norm;
  void collect(ParameterBlocks& blocks);
};

struct HeadParameters {
  NormParameters norm;
  ParameterBlock weight;
  void collect(ParameterBlocks& blocks);
};

}  // namespace trireme

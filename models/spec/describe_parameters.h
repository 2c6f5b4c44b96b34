// The parameters of a model as one rank holds them: names, shapes, initial values and who shares them. The
// one place that knows; layers take theirs from here.
#pragma once

#include <string>

#include "models/spec/layer_parameters.h"
#include "models/spec/model_spec.h"
#include "models/spec/rank_share.h"

namespace trireme {

/// "layers.3", of block 3: what the names of its own parameters begin with.
std::string block_name(int64_t index);
/// "layers.3.ffn.router", of its mixture (RouterBalance::name).
std::string router_name(int64_t index);

class ParameterDescription {
 public:
  /// `spec` outlives it. Nothing is checked: the model fits the ranks.
  explicit ParameterDescription(const ModelSpec& spec, const RankShare& share = {})
      : ParameterDescription(spec, share, spec.hidden_size) {}

  /// embedding.tokens.weight, whose rows are sharded over the tensor-parallel ranks, and for learned
  /// positions embedding.positions.weight, whole on each.
  EmbeddingParameters embedding() const;
  /// layers.`index`.{attention_norm,attention,attention_post_norm,ffn_norm,ffn,ffn_post_norm}.*, where the
  /// block has weights of its own, and of norms those that its placement has; or convolution.* in the place
  /// of attention.*. One that is narrow inside: bottleneck_norm.*, bottleneck.{in,out}.weight, which every
  /// tensor-parallel rank holds whole, attention_norm.*, attention.*, and of its feed-forward parts
  /// ffn_norm.K.*, ffn.K.*.
  BlockParameters block(int64_t index) const;
  /// final_norm.* and head.weight, sharded as the token table. A tied head has no matrix of its own where
  /// `reads_embedding`, and else, the embedding being on another pipeline rank, a copy under the same name.
  HeadParameters head(bool reads_embedding) const;

  /// `name`.gain and for a LayerNorm with biases `name`.bias: whole on every tensor-parallel rank.
  NormParameters norm(const NormSpec& norm, const std::string& name) const;
  /// `name`.{query,key,value,output}.{weight,bias}: heads are sharded over the tensor-parallel ranks. Where
  /// these are more than key-value heads, neighbours hold copies of one. `name`.{query_norm,key_norm}.gain
  /// are whole on each, which sees its own heads, or, of norms over whole projections, sharded as these.
  AttentionParameters attention(const AttentionSpec& attention, const std::string& name) const;
  /// `name`.{in_gate,out_gate,in_value,output}.{weight,bias} and `name`.taps [width, kernel, 1]: channels are
  /// sharded over the tensor-parallel ranks.
  ConvolutionParameters convolution(const ConvolutionSpec& convolution, const std::string& name) const;
  /// `name`.{up,down}.{weight,bias}, and `name`.gate.*: the width is sharded over the tensor-parallel ranks.
  FeedForwardParameters feed_forward(const FeedForwardSpec& part, const std::string& name) const;
  /// `name`.router.weight, `name`.experts.E.{gate,up,down}.weight and `name`.shared.* as feed_forward().
  /// Experts are sharded over the expert-parallel ranks, and each one's width over the ranks that have the
  /// same.
  MixtureParameters mixture(const MixtureSpec& mixture, const std::string& name) const;

 private:
  ParameterDescription(const ModelSpec& spec, const RankShare& share, int64_t width)
      : spec_(spec), share_(share), width_(width) {}
  void add_mixer(const BlockSpec& block, const std::string& name, BlockParameters& out) const;
  void add_bottleneck(const BlockSpec& block, const std::string& name, BlockParameters& out) const;
  Parameter sharded(std::string name, const Shape& shape, int dim, double std) const;
  Parameter copied(std::string name, const Shape& shape, float mean, double std) const;
  Parameter of_heads(const AttentionSpec& attention, std::string name, int64_t num_heads, const Part& heads,
                     int num_copies, bool matrix) const;
  void add_qk_norm(const AttentionSpec& attention, const std::string& name, AttentionParameters& out) const;
  ParameterBlock qkv(const AttentionSpec& attention, const std::string& name, bool matrix) const;
  ParameterBlock up(const FeedForwardSpec& part, const std::string& name, bool matrix) const;
  // None where they are not learned.
  ParameterBlock scales(const ParameterBlock& matrices) const;
  ParameterBlock experts(const MixtureSpec& mixture, const std::string& name, bool up) const;

  const ModelSpec& spec_;
  RankShare share_;
  int64_t width_;  // of what the parts of a block take and give
};

/// Learned scales of quantization (ModelSpec::quantization) stand beside their matrices as
/// `name`.*.weight_scale, sharded as these.

/// The key-value heads of a tensor-parallel rank, of all heads.
Part kv_heads_of_rank(const AttentionSpec& attention, const GroupShare& tensor);
/// How many neighbouring ranks hold the same ones.
int copies_of_kv_heads(const AttentionSpec& attention, const GroupShare& tensor);
/// And its query heads.
Part heads_of_rank(const AttentionSpec& attention, const GroupShare& tensor);

}  // namespace trireme

#include "models/spec/layer_parameters.h"

#include <initializer_list>

namespace trireme {

namespace {

void append(ParameterBlocks& blocks, std::initializer_list<ParameterBlock*> more) {
  for (ParameterBlock* block : more) {
    if (*block) blocks.push_back(block);
  }
}

}  // namespace

void LinearParameters::collect(ParameterBlocks& blocks) { append(blocks, {&weight, &bias, &scales}); }

void NormParameters::collect(ParameterBlocks& blocks) { append(blocks, {&gain, &bias}); }

void AttentionParameters::collect(ParameterBlocks& blocks) {
  qkv.collect(blocks);
  query_norm.collect(blocks);
  key_norm.collect(blocks);
  output.collect(blocks);
}

void ConvolutionParameters::collect(ParameterBlocks& blocks) {
  in.collect(blocks);
  append(blocks, {&taps});
  output.collect(blocks);
}

void FeedForwardParameters::collect(ParameterBlocks& blocks) {
  up.collect(blocks);
  down.collect(blocks);
}

void MixtureParameters::collect(ParameterBlocks& blocks) {
  append(blocks, {&router, &up, &down, &up_scales, &down_scales});
  if (shared) shared->collect(blocks);
}

void EmbeddingParameters::collect(ParameterBlocks& blocks) { append(blocks, {&tokens, &positions}); }

void BlockParameters::collect(ParameterBlocks& blocks) {
  if (bottleneck) {
    bottleneck->norm.collect(blocks);
    bottleneck->in.collect(blocks);
  }
  attention_norm.collect(blocks);
  convolution ? convolution->collect(blocks) : attention.collect(blocks);
  attention_post_norm.collect(blocks);
  ffn_norm.collect(blocks);
  if (feed_forward) feed_forward->collect(blocks);
  if (mixture) mixture->collect(blocks);
  ffn_post_norm.collect(blocks);
  if (!bottleneck) return;
  for (BottleneckParameters::Part& part : bottleneck->parts) {
    part.norm.collect(blocks);
    part.feed_forward.collect(blocks);
  }
  bottleneck->out.collect(blocks);
}

void HeadParameters::collect(ParameterBlocks& blocks) {
  norm.collect(blocks);
  append(blocks, {&weight});
}

}  // namespace trireme

#include "models/compress/input_groups.h"

#include <string>
#include <utility>

#include "models/spec/describe_parameters.h"

namespace trireme {

namespace {

InputGroup group_of(std::string name, const ParameterBlock& block, bool row_parallel) {
  return {std::move(name), block.members, row_parallel};
}

void append_members(ParameterBlocks blocks, std::vector<Parameter>& to) {
  for (const ParameterBlock* block : blocks)
    to.insert(to.end(), block->members.begin(), block->members.end());
}

// Attention or a convolution.
void append_mixer(const BlockParameters& p, const std::string& name, std::vector<CalibrationStep>& steps) {
  if (p.convolution) {
    steps.push_back({group_of(name + ".convolution.in", p.convolution->in.weight, false)});
    steps.push_back({group_of(name + ".convolution.output", p.convolution->output.weight, true)});
    return;
  }
  steps.push_back({group_of(name + ".attention.qkv", p.attention.qkv.weight, false)});
  steps.push_back({group_of(name + ".attention.output", p.attention.output.weight, true)});
}

std::vector<CalibrationStep> steps_of_bottleneck(const BlockParameters& p, const std::string& name) {
  const BottleneckParameters& bottleneck = *p.bottleneck;
  std::vector<CalibrationStep> steps{{group_of(name + ".bottleneck.in", bottleneck.in.weight, false)}};
  append_mixer(p, name, steps);
  for (size_t k = 0; k < bottleneck.parts.size(); ++k) {
    const FeedForwardParameters& part = bottleneck.parts[k].feed_forward;
    const std::string ffn = name + ".ffn." + std::to_string(k);
    steps.push_back({group_of(ffn + ".up", part.up.weight, false)});
    steps.push_back({group_of(ffn + ".down", part.down.weight, true)});
  }
  steps.push_back({group_of(name + ".bottleneck.out", bottleneck.out.weight, false)});
  return steps;
}

}  // namespace

std::vector<CalibrationStep> calibration_steps(const ModelSpec& spec, int64_t block) {
  const BlockParameters p = ParameterDescription(spec).block(block);
  const std::string name = block_name(block);
  if (p.bottleneck) return steps_of_bottleneck(p, name);
  std::vector<CalibrationStep> steps;
  append_mixer(p, name, steps);
  steps.resize(4);
  if (p.feed_forward) {
    steps[2].push_back(group_of(name + ".ffn.up", p.feed_forward->up.weight, false));
    steps[3].push_back(group_of(name + ".ffn.down", p.feed_forward->down.weight, true));
  }
  if (p.mixture) {
    steps[2].push_back(group_of(name + ".ffn.experts.up", p.mixture->up, false));
    steps[3].push_back(group_of(name + ".ffn.experts.down", p.mixture->down, true));
    if (p.mixture->shared) {
      steps[2].push_back(group_of(name + ".ffn.shared.up", p.mixture->shared->up.weight, false));
      steps[3].push_back(group_of(name + ".ffn.shared.down", p.mixture->shared->down.weight, true));
    }
  }
  return steps;
}

std::vector<Parameter> parameters_of_place(const ModelSpec& spec, int64_t place) {
  const ParameterDescription description(spec);
  std::vector<Parameter> all;
  ParameterBlocks blocks;
  if (place == 0) {
    EmbeddingParameters p = description.embedding();
    p.collect(blocks);
    append_members(blocks, all);
  } else if (place > spec.num_blocks()) {
    HeadParameters p = description.head(true);
    p.collect(blocks);
    append_members(blocks, all);
  } else if (spec.weights_of(place - 1) == place - 1) {
    BlockParameters p = description.block(place - 1);
    p.collect(blocks);
    append_members(blocks, all);
  }
  return all;
}

}  // namespace trireme

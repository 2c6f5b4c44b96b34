#include "models/compress/input_groups.h"

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

}  // namespace

std::vector<CalibrationStep> calibration_steps(const ModelSpec& spec, int64_t block) {
  const BlockParameters p = ParameterDescription(spec).block(block);
  const std::string name = block_name(block);
  std::vector<CalibrationStep> steps(4);
  steps[0].push_back(group_of(name + ".attention.qkv", p.attention.qkv.weight, false));
  steps[1].push_back(group_of(name + ".attention.output", p.attention.output.weight, true));
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

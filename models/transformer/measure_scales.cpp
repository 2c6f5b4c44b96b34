#include "models/transformer/measure_scales.h"

#include <map>
#include <string>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/packed/fake_quantize.h"

namespace trireme {

namespace {

using Logs = std::map<std::string, std::vector<float>>;

// Of the scales of these members.
std::vector<float> measured(const ops::PackedSpec& spec, const Parameter& matrix,
                            std::span<const float> values) {
  const int64_t inputs = matrix.shape[1], groups = ops::groups_of(spec, inputs);
  std::vector<float> logs(static_cast<size_t>(matrix.shape[0] * groups)), scales(static_cast<size_t>(groups));
  std::vector<uint8_t> codes(static_cast<size_t>(inputs)), zeros(scales.size());
  for (int64_t row = 0; row < matrix.shape[0]; ++row) {
    const auto of_row = values.subspan(static_cast<size_t>(row * inputs), static_cast<size_t>(inputs));
    const int64_t wrong = ops::quantize_row(spec, of_row, {codes, scales, zeros});
    if (wrong >= 0)
      throw_bad_input("{} has {} at row {}, input {}: scales are measured of finite numbers", matrix.name,
                      of_row[static_cast<size_t>(wrong)], matrix.offset[0] + row, matrix.offset[1] + wrong);
    std::ranges::transform(scales, logs.begin() + row * groups, ops::log_of_scale);
  }
  return logs;
}

// Names of scales that are to be measured.
Logs wanted_of(Context& ctx, ModelPart& part, bool all) {
  Logs wanted;
  for (const ParameterBlock* block : part.blocks()) {
    if (!block->members.front().is_scale) continue;
    const std::vector<float> now = ops::to_host<float>(ctx, block->weight);
    size_t at = 0;
    for (const Parameter& scale : block->members) {
      if (all || (scale.shape.numel() > 0 && now[at] == kUnmeasuredScale)) wanted[scale.name];
      at += static_cast<size_t>(scale.shape.numel());
    }
  }
  return wanted;
}

void measure_block(Context& ctx, const ops::PackedSpec& spec, const ParameterBlock& block, Logs& logs) {
  std::vector<float> values;
  size_t at = 0;
  for (const Parameter& matrix : block.members) {
    const auto numel = static_cast<size_t>(matrix.shape.numel());
    const auto found = logs.find(matrix.name + "_scale");
    if (found != logs.end() && found->second.empty()) {
      if (values.empty()) values = ops::to_host_f32(ctx, block.weight);
      found->second = measured(spec, matrix, std::span(values).subspan(at, numel));
    }
    at += numel;
  }
}

}  // namespace

void measure_scales(Context& ctx, ModelPart& part, const ops::PackedSpec& spec, bool all) {
  Logs logs = wanted_of(ctx, part, all);
  const std::vector<ParameterBlock*> blocks = part.blocks();
  for (Stage& stage : part.chunks) {
    for (size_t layer = 0; layer < stage.num_layers(); ++layer) {
      const ScopedWeights held = stage.hold_for_forward(ctx, layer);
      for (const ParameterBlock* block : blocks) {
        if (block->weight && block->is_matrix()) measure_block(ctx, spec, *block, logs);
      }
    }
  }
  part.storage->set(ctx, [&](const Parameter& p, const Tensor& values) {
    const auto found = logs.find(p.name);
    if (!p.is_scale || found == logs.end()) return false;
    ops::write(ctx, found->second, values);
    return true;
  });
}

}  // namespace trireme

#include "launch/bench/generation/drawn_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "models/cost/model_size.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "parallel/checkpoint/weights/stored_matrix.h"
#include "runtime/base/error.h"
#include "runtime/base/half.h"
#include "runtime/base/philox.h"

namespace trireme::launch {

namespace {

using ops::PackedFormat;

/// Where the 16-bit floats of a block of ggml lie (runtime/ops/weight_blocks.h).
std::vector<int64_t> scales_of(PackedFormat format) {
  if (format == PackedFormat::q4_1 || format == PackedFormat::q4_k) return {0, 2};
  if (format == PackedFormat::q6_k) return {208};
  return {0};
}

std::vector<std::byte> drawn_row(PackedFormat format, int64_t inputs) {
  const StoredBlock block = stored_block(format);
  std::vector<std::byte> row(static_cast<size_t>(inputs / block.elements * block.bytes));
  for (size_t i = 0; i < row.size(); ++i)
    row[i] = static_cast<std::byte>(philox4x32(hash_name("drawn_weights"), i, 0)[0]);
  const auto scale = fp16(0.002F);
  for (int64_t begin = 0; begin < std::ssize(row); begin += block.bytes) {
    for (const int64_t at : scales_of(format)) std::memcpy(row.data() + begin + at, &scale, sizeof scale);
  }
  return row;
}

bool is_stored(std::string_view name, const Shape& shape) {
  return shape.rank() == 2 && name != "embedding.positions.weight" && !name.ends_with(kRouterWeight);
}

}  // namespace

DrawnWeights::DrawnWeights(const ModelConfig& config, std::optional<PackedFormat> stored)
    : name_(config.name), stored_(stored) {
  int64_t widest = 0;
  for (const ParameterInfo& info : parameter_table(config)) {
    kinds_[info.name] = {info.shape, DType::f32};
    if (!stored_ || !is_stored(info.name, info.shape)) continue;
    const int64_t inputs = info.shape[1], elements = stored_block(*stored_).elements;
    if (inputs % elements != 0)
      throw_usage("{} blocks have {} inputs, and {} of {} has {}: choose another format",
                  ops::to_string(ops::PackedSpec{*stored_}), elements, info.name, name_, inputs);
    widest = std::max(widest, inputs);
  }
  if (stored_) row_ = drawn_row(*stored_, widest);
}

void DrawnWeights::read(std::string_view name, const Parameter& p, std::span<float> values) const {
  // Linear congruences are drawn enough, and keep up with the memory.
  const uint64_t begin = p.offset.rank() > 0 ? static_cast<uint64_t>(p.offset[0]) : 0;
  uint64_t state = philox4x32(hash_name(name), begin, 1)[0] | uint64_t{1};
  const float width = p.init_std * std::sqrt(12.0F);
  for (float& value : values) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    const float uniform = static_cast<float>(state >> 40) * 0x1p-24F;
    value = p.init_mean + width * (uniform - 0.5F);
  }
}

std::optional<StoredMatrix> DrawnWeights::stored(std::string_view name, const Parameter& p) const {
  if (!stored_ || !is_stored(name, p.global_shape)) return std::nullopt;
  const auto skipped = bytes_before(*stored_, {p.offset[1], p.offset[1] + p.shape[1]});
  StoredMatrix matrix{.format = *stored_};
  if (skipped) matrix.row = [this, at = *skipped](int64_t) { return row_.data() + at; };
  return matrix;
}

}  // namespace trireme::launch

#include "models/compress/folds.h"

#include <algorithm>

#include "models/spec/describe_parameters.h"

namespace trireme {

namespace {

void append_names(const ParameterBlock& block, std::vector<std::string>& to) {
  for (const Parameter& p : block.members) to.push_back(p.name);
}

FoldPlace behind_norm(const NormParameters& norm, size_t step) {
  FoldPlace place{.name = {}, .step = step, .readers = {}, .routers = {}, .divided = {}};
  const std::string& gain = norm.gain.members.front().name;
  place.name = gain.substr(0, gain.rfind('.'));
  append_names(norm.gain, place.divided);
  append_names(norm.bias, place.divided);
  return place;
}

// Of the last member of a block: the values of query, key and value; up of gate and up.
FoldPlace behind_last_member(const LinearParameters& from, const std::string& reader, size_t step) {
  FoldPlace place{.name = {}, .step = step, .readers = {reader}, .routers = {}, .divided = {}};
  const std::string& weight = from.weight.members.back().name;
  place.name = weight.substr(0, weight.rfind('.'));
  place.divided.push_back(weight);
  if (from.bias) place.divided.push_back(from.bias.members.back().name);
  return place;
}

void append_feed_forward(const FeedForwardSpec& spec, const FeedForwardParameters& p,
                         std::vector<FoldPlace>& to, size_t step = 3) {
  if (is_gated(spec.activation))
    to.push_back(behind_last_member(p.up, p.down.weight.members.front().name, step));
}

// What attention or a convolution takes, and its values: of attention each for the query heads that share
// them.
void append_taken(const BlockParameters& p, size_t step, std::vector<FoldPlace>& to) {
  const LinearParameters& taking = p.convolution ? p.convolution->in : p.attention.qkv;
  append_names(taking.weight, to.emplace_back(behind_norm(p.attention_norm, step)).readers);
}
void append_values(const BlockSpec& block, const BlockParameters& p, size_t step,
                   std::vector<FoldPlace>& to) {
  const LinearParameters &taking = p.convolution ? p.convolution->in : p.attention.qkv,
                         &output = p.convolution ? p.convolution->output : p.attention.output;
  FoldPlace& values = to.emplace_back(behind_last_member(taking, output.weight.members.front().name, step));
  values.run = p.convolution ? block.convolution->width : block.attention.head_dim;
  values.repeats = p.convolution ? 1 : block.attention.num_heads / block.attention.num_kv_heads;
}

// Each part's step of calibration_steps() is that of its number among the linear layers.
std::vector<FoldPlace> places_of_bottleneck(const BlockSpec& block, const BlockParameters& p) {
  std::vector<FoldPlace> places;
  append_names(p.bottleneck->in.weight, places.emplace_back(behind_norm(p.bottleneck->norm, 0)).readers);
  append_taken(p, 1, places);
  append_values(block, p, 2, places);
  size_t step = 3;
  for (const BottleneckParameters::Part& part : p.bottleneck->parts) {
    append_names(part.feed_forward.up.weight, places.emplace_back(behind_norm(part.norm, step)).readers);
    append_feed_forward(block.feed_forward, part.feed_forward, places, step + 1);
    step += 2;
  }
  return places;
}

void append_experts(const MixtureSpec& spec, const MixtureParameters& p, std::vector<FoldPlace>& to) {
  if (!is_gated(spec.expert.activation)) return;
  for (size_t e = 0; e < p.down.members.size(); ++e) {
    const Parameter &up = p.up.members[2 * e + 1], &down = p.down.members[e];
    to.push_back({.name = up.name.substr(0, up.name.rfind('.')),
                  .step = 3,
                  .expert = down.expert,
                  .readers = {down.name},
                  .routers = {},
                  .divided = {up.name}});
  }
}

}  // namespace

std::vector<FoldPlace> fold_places(const ModelSpec& spec, int64_t block) {
  const BlockSpec& of_block = spec.blocks[static_cast<size_t>(block)];
  const BlockParameters p = ParameterDescription(spec).block(block);
  if (p.bottleneck) return places_of_bottleneck(of_block, p);
  std::vector<FoldPlace> places;
  if (of_block.norms_before()) {
    append_taken(p, 0, places);
    FoldPlace& of_ffn = places.emplace_back(behind_norm(p.ffn_norm, 2));
    if (p.feed_forward) append_names(p.feed_forward->up.weight, of_ffn.readers);
    if (p.mixture) {
      append_names(p.mixture->up, of_ffn.readers);
      append_names(p.mixture->router, of_ffn.routers);
      if (p.mixture->shared) append_names(p.mixture->shared->up.weight, of_ffn.readers);
    }
  }
  append_values(of_block, p, 1, places);
  if (p.feed_forward) append_feed_forward(of_block.feed_forward, *p.feed_forward, places);
  if (p.mixture) {
    append_experts(*of_block.mixture, *p.mixture, places);
    if (p.mixture->shared) append_feed_forward(*of_block.mixture->shared, *p.mixture->shared, places);
  }
  return places;
}

InputStatistics shared_magnitudes(const FoldPlace& place, InputStatistics s) {
  if (place.repeats == 1) return s;
  const auto num_rows = static_cast<size_t>(s.inputs / place.repeats);
  std::vector<double> sums(num_rows, 0.0);
  std::vector<float> largest(num_rows, 0.0f);
  for (int64_t i = 0; i < s.inputs; ++i) {
    const auto input = static_cast<size_t>(i), row = static_cast<size_t>(place.row_of(i));
    sums[row] += s.magnitudes[input] / static_cast<double>(place.repeats);
    largest[row] = std::max(largest[row], s.largest[input]);
  }
  for (int64_t i = 0; i < s.inputs; ++i) {
    const auto input = static_cast<size_t>(i), row = static_cast<size_t>(place.row_of(i));
    s.magnitudes[input] = sums[row];
    s.largest[input] = largest[row];
  }
  return s;
}

std::vector<float> shared_scales(const FoldPlace& place, std::vector<float> scales) {
  if (place.repeats == 1) return scales;
  std::vector<float> largest(scales.size() / static_cast<size_t>(place.repeats), 0.0f);
  for (size_t i = 0; i < scales.size(); ++i) {
    float& of_row = largest[static_cast<size_t>(place.row_of(static_cast<int64_t>(i)))];
    of_row = std::max(of_row, scales[i]);
  }
  for (size_t i = 0; i < scales.size(); ++i)
    scales[i] = largest[static_cast<size_t>(place.row_of(static_cast<int64_t>(i)))];
  return scales;
}

void fold(const FoldPlace& place, std::span<const float> scales, FoldedWeights& weights) {
  for (const auto* names : {&place.readers, &place.routers}) {
    for (const std::string& name : *names) weights.multiply_columns(name, scales);
  }
  std::vector<float> of_rows(scales.size() / static_cast<size_t>(place.repeats));
  for (size_t i = 0; i < scales.size(); ++i)
    of_rows[static_cast<size_t>(place.row_of(static_cast<int64_t>(i)))] = scales[i];
  for (const std::string& name : place.divided) weights.divide_rows(name, of_rows);
}

}  // namespace trireme

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
                         std::vector<FoldPlace>& to) {
  if (is_gated(spec.activation))
    to.push_back(behind_last_member(p.up, p.down.weight.members.front().name, 3));
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
  std::vector<FoldPlace> places;
  if (of_block.norms_before()) {
    append_names(p.attention.qkv.weight, places.emplace_back(behind_norm(p.attention_norm, 0)).readers);
    FoldPlace& of_ffn = places.emplace_back(behind_norm(p.ffn_norm, 2));
    if (p.feed_forward) append_names(p.feed_forward->up.weight, of_ffn.readers);
    if (p.mixture) {
      append_names(p.mixture->up, of_ffn.readers);
      append_names(p.mixture->router, of_ffn.routers);
      if (p.mixture->shared) append_names(p.mixture->shared->up.weight, of_ffn.readers);
    }
  }
  const std::string& output = p.attention.output.weight.members.front().name;
  FoldPlace& of_values = places.emplace_back(behind_last_member(p.attention.qkv, output, 1));
  of_values.run = of_block.attention.head_dim;
  of_values.repeats = of_block.attention.num_heads / of_block.attention.num_kv_heads;
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

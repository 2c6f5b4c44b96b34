#include "models/inference/cache_reach.h"

#include <algorithm>
#include <limits>

namespace trireme {

namespace {

std::vector<KeyLimits> limits_of(const ModelSpec& spec) {
  std::vector<KeyLimits> layers;
  for (const BlockSpec& block : spec.blocks) {
    if (block.convolution) {
      layers.push_back({.window = block.convolution->kernel});
    } else {
      layers.push_back({.window = block.attention.window, .pattern = block.attention.keys});
    }
  }
  return layers;
}

}  // namespace

CacheReach::CacheReach(const ModelSpec& spec, int64_t block_tokens)
    : CacheReach(limits_of(spec), block_tokens) {}

CacheReach::CacheReach(std::vector<KeyLimits> layers, int64_t block_tokens) : block_tokens_(block_tokens) {
  for (const KeyLimits& layer : layers) {
    is_bounded_ = is_bounded_ && layer.is_bounded();
    if (std::ranges::find(layers_, layer) == layers_.end()) layers_.push_back(layer);
  }
}

bool CacheReach::is_over(int64_t index, int64_t next) const {
  if (!is_bounded_ || index + 1 >= next / block_tokens_) return false;
  const Part later{next, std::numeric_limits<int64_t>::max()};
  const Part held{index * block_tokens_, (index + 1) * block_tokens_};
  return std::ranges::all_of(layers_,
                             [&](const KeyLimits& layer) { return layer.end_of_sight(later, held) <= next; });
}

int64_t CacheReach::most_kept(int64_t num_tokens) {
  if (!is_bounded_) return blocks_of(num_tokens);
  const auto whole = static_cast<size_t>(num_tokens / block_tokens_);
  while (most_.size() <= whole) {
    const int64_t computed = std::ssize(most_);  // blocks
    kept_.push_back(computed - 1);
    std::erase_if(kept_, [&](int64_t index) { return is_over(index, computed * block_tokens_); });
    most_.push_back(std::max(most_.back(), std::ssize(kept_)));
  }
  return most_[whole];
}

int64_t CacheReach::longest(int64_t num_blocks, int64_t num_tokens) {
  int64_t fits = std::min(num_tokens, num_blocks * block_tokens_), beyond = num_tokens + 1;
  while (fits + 1 < beyond) {
    const int64_t middle = fits + (beyond - fits) / 2;
    (most_used(middle, 1) <= num_blocks ? fits : beyond) = middle;
  }
  return fits;
}

int64_t CacheReach::most_used(int64_t num_tokens, int64_t at_once) {
  return std::min(blocks_of(num_tokens), most_kept(num_tokens) + blocks_of(at_once - 1) + 1);
}

}  // namespace trireme

#include "runtime/ops/attention/key_pattern.h"

#include <fmt/format.h>

#include <algorithm>

namespace trireme::ops {

std::string why_not(const KeyPattern& p) {
  const auto is_number = [](int64_t n) { return 0 <= n && n <= KeyPattern::kMost; };
  for (const int64_t n : {p.sinks, p.stride, p.stride_keys, p.block, p.summary, p.reach}) {
    if (!is_number(n)) return fmt::format("{} is no number from 0 to {}", n, KeyPattern::kMost);
  }
  if (p.stride_keys > 0 && p.stride == 0) return fmt::format("{} keys of a stride of 0", p.stride_keys);
  if (p.summary > p.block) return fmt::format("a summary of {} places of blocks of {}", p.summary, p.block);
  if (p.reach > 0 && p.summary == 0)
    return fmt::format("a reach of {} blocks without a summary, of which nothing is seen", p.reach);
  if (p.num_globals < 0 || p.num_globals > KeyPattern::kMostGlobals)
    return fmt::format("{} global tokens: at most {}", p.num_globals, KeyPattern::kMostGlobals);
  for (size_t g = 0; g < p.globals.size(); ++g) {
    const int64_t place = p.globals[g];
    if (static_cast<int64_t>(g) >= p.num_globals) {
      if (place != 0)
        return fmt::format("a global token at {} behind the {} that count", place, p.num_globals);
      continue;
    }
    if (!is_number(place) || (g > 0 && place <= p.globals[g - 1]))
      return fmt::format("a global token at {}: places ascend from 0", place);
  }
  return "";
}

namespace {

// Of the `summary` last places of the blocks [first, last], those in [begin, end).
int64_t in_summaries(const KeyPattern& p, int64_t first, int64_t last, int64_t begin, int64_t end) {
  first = std::max(first, begin / p.block);
  last = std::min(last, (end - 1) / p.block);
  if (begin >= end || first > last) return 0;
  const auto of = [&](int64_t block) {
    return std::max<int64_t>(
        0, std::min(end, (block + 1) * p.block) - std::max(begin, (block + 1) * p.block - p.summary));
  };
  if (first == last) return of(first);
  return of(first) + of(last) + (last - first - 1) * p.summary;
}

}  // namespace

int64_t count_seen(const KeyPattern& p, int64_t window, int64_t i, int64_t begin, int64_t end) {
  begin = std::max<int64_t>(begin, 0);
  end = std::min(end, i + 1);
  if (begin >= end) return 0;
  if ((!p && window == 0) || p.is_global(i)) return end - begin;
  // What is seen without a gap, the sinks, and what is seen between them.
  const int64_t near = std::clamp(p.near(window, i), begin, end), sinks = std::clamp(p.sinks, begin, near);
  int64_t count = end - near + sinks - begin;
  const int64_t oldest = p.summary > 0 && p.reach > 0 ? i / p.block - p.reach : 0;
  if (p.summary > 0) count += in_summaries(p, oldest, i / p.block - 1, sinks, near);
  const auto in_summary = [&](int64_t j) {
    return p.summary > 0 && j % p.block >= p.block - p.summary && j / p.block >= oldest;
  };
  const auto on_stride = [&](int64_t j) {
    return p.stride > 0 && (i - j) % p.stride == 0 &&
           (p.stride_keys == 0 || (i - j) / p.stride <= p.stride_keys);
  };
  if (p.stride > 0 && sinks < near) {
    int64_t last = (i - sinks) / p.stride;
    if (p.stride_keys > 0) last = std::min(last, p.stride_keys);
    const int64_t first = (i - near) / p.stride + 1;
    count += std::max<int64_t>(0, last - first + 1);
    for (int64_t k = first; p.summary > 0 && k <= last; ++k) count -= in_summary(i - k * p.stride) ? 1 : 0;
  }
  for (int64_t g = 0; g < p.num_globals; ++g) {
    const int64_t j = p.globals[static_cast<size_t>(g)];
    if (sinks <= j && j < near && !in_summary(j) && !on_stride(j)) ++count;
  }
  return count;
}

int64_t most_groups_seen(const KeyPattern& p, int64_t window, int64_t queries, int64_t num_keys,
                         int64_t group) {
  const auto touched = [group](int64_t length) { return length > 0 ? (length + group - 2) / group + 1 : 0; };
  const int64_t all = touched(num_keys);
  if (p.num_globals > 0 || (!p && window == 0) || (p.stride > 0 && p.stride_keys == 0) ||
      (p.summary > 0 && p.reach == 0))
    return all;
  int64_t groups = touched(queries + std::max<int64_t>({window - 1, p.block - 1, 0})) + touched(p.sinks);
  if (p.stride > 0) {
    groups += p.stride < queries + group ? touched(queries + p.stride * p.stride_keys)
                                         : p.stride_keys * touched(queries);
  }
  if (p.summary > 0) {
    const int64_t blocks = p.reach + (queries + p.block - 2) / p.block;
    groups += p.block < p.summary + group ? touched(blocks * p.block) : blocks * touched(p.summary);
  }
  return std::min(groups, all);
}

}  // namespace trireme::ops

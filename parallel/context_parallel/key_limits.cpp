#include "parallel/context_parallel/key_limits.h"

#include <algorithm>
#include <span>

namespace trireme {

namespace {

// Parts of `within`, put in order.
class PartUnion {
 public:
  explicit PartUnion(const Part& within) : within_(within) {}

  void add(int64_t begin, int64_t end) {
    const Part part{std::max(begin, within_.begin), std::min(end, within_.end)};
    if (part.begin < part.end) parts_.push_back(part);
  }
  std::vector<Part> take() {
    std::ranges::sort(parts_, {}, &Part::begin);
    std::vector<Part> joined;
    for (const Part& part : parts_) {
      if (!joined.empty() && part.begin <= joined.back().end) {
        joined.back().end = std::max(joined.back().end, part.end);
      } else {
        joined.push_back(part);
      }
    }
    return joined;
  }

 private:
  Part within_;
  std::vector<Part> parts_;
};

void add_strided(const ops::KeyPattern& p, const Part& queries, const Part& within, PartUnion& seen) {
  const int64_t t = p.stride;
  if (t == 0) return;
  const int64_t most = p.stride_keys > 0 ? p.stride_keys : queries.end / t + 1;
  if (t <= queries.size()) return seen.add(queries.begin - most * t, queries.end - t);
  const int64_t first = std::max<int64_t>(1, (queries.begin - within.end) / t),
                last = std::min(most, (queries.end - within.begin) / t + 1);
  for (int64_t m = first; m <= last; ++m) seen.add(queries.begin - m * t, queries.end - m * t);
}

void add_blocks(const ops::KeyPattern& p, const Part& queries, const Part& within, PartUnion& seen) {
  if (p.block == 0) return;
  const int64_t own = queries.begin / p.block;
  seen.add(own * p.block, queries.end);
  int64_t first = within.begin / p.block;
  if (p.reach > 0) first = std::max(first, own - p.reach);
  const int64_t end = std::min((queries.end - 1) / p.block, (within.end - 1) / p.block + 1);
  if (p.summary == p.block) return seen.add(first * p.block, end * p.block);
  for (int64_t block = first; block < end; ++block)
    seen.add((block + 1) * p.block - p.summary, (block + 1) * p.block);
}

std::span<const int32_t> globals_of(const ops::KeyPattern& p) {
  return std::span(p.globals).first(static_cast<size_t>(p.num_globals));
}

bool has(const Part& part, int64_t place) { return part.begin <= place && place < part.end; }

}  // namespace

std::vector<Part> KeyLimits::seen_by(const Part& queries, const Part& keys) const {
  // A document's first query may lie behind the first one of a chunk: places before it are nobody's.
  const Part within{std::max<int64_t>(keys.begin, 0), std::min(keys.end, queries.end)};
  PartUnion seen(within);
  if (within.begin >= within.end) return {};
  if (window == 0 && !pattern) {
    seen.add(0, queries.end);
  } else {
    seen.add(queries.begin - std::max<int64_t>(window, 1) + 1, queries.end);
  }
  seen.add(0, pattern.sinks);
  add_strided(pattern, queries, within, seen);
  add_blocks(pattern, queries, within, seen);
  for (const int32_t global : globals_of(pattern)) {
    seen.add(global, global + 1);
    if (has(queries, global)) seen.add(0, global + 1);
  }
  return seen.take();
}

bool KeyLimits::is_bounded() const {
  return (window > 0 || pattern) && (pattern.stride == 0 || pattern.stride_keys > 0) &&
         (pattern.block == 0 || pattern.reach > 0);
}

int64_t KeyLimits::end_of_sight(const Part& queries, const Part& keys) const {
  const ops::KeyPattern& p = pattern;
  if ((window == 0 && !p) || keys.begin < p.sinks || (p.stride > 0 && p.stride_keys == 0)) return queries.end;
  int64_t end = keys.end - 1 + std::max<int64_t>(window, 1);
  if (p.stride > 0) end = std::max(end, keys.end + p.stride * p.stride_keys);
  if (p.block > 0) {
    const int64_t last = (keys.end - 1) / p.block;
    end = std::max(end, (last + 1) * p.block);
    // Of the last block the summary may lie behind the keys.
    const int64_t summed = keys.end > (last + 1) * p.block - p.summary ? last : last - 1;
    if (summed >= keys.begin / p.block) {
      if (p.reach == 0) return queries.end;
      end = std::max(end, (summed + 1 + p.reach) * p.block);
    }
  }
  for (const int32_t global : globals_of(p)) {
    if (has(keys, global)) return queries.end;
    if (has(queries, global)) end = std::max<int64_t>(end, global + 1);
  }
  return std::min(end, queries.end);
}

}  // namespace trireme

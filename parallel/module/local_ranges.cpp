#include "parallel/module/local_ranges.h"

#include <algorithm>

namespace trireme {

namespace {

// Of the parameter whose block begins at index `begin` of the group.
LocalRange own_range_of(const Parameter& parameter, const ParameterGroup& group, size_t bucket, int64_t begin,
                        BufferExtent extent) {
  const IndexRange own = own_indices(group, group.buckets[bucket]);
  const IndexRange range = intersection({begin, begin + parameter.shape.numel()}, own);
  if (range.empty()) return {.parameter = &parameter, .bucket = bucket};
  const int64_t moved = own_place(group, group.buckets[bucket], extent).begin - own.begin;
  return {&parameter, bucket, range.begin + moved, range.end + moved, range.begin - begin};
}

}  // namespace

IndexRange intersection(const IndexRange& a, const IndexRange& b) {
  const IndexRange both{std::max(a.begin, b.begin), std::min(a.end, b.end)};
  return both.empty() ? IndexRange{} : both;
}

BufferExtent extent_of(const ParameterGroup& group, const Tensor& buffer) {
  return group.is_sharded(buffer) ? BufferExtent::sharded : BufferExtent::whole;
}

IndexRange own_indices(const ParameterGroup& group, const ParameterBucket& bucket) {
  const int64_t size = (bucket.end - bucket.begin) / group.num_shards;
  const int64_t begin = bucket.begin + group.shard * size;
  return {begin, begin + size};
}

IndexRange own_place(const ParameterGroup& group, const ParameterBucket& bucket, BufferExtent extent) {
  const IndexRange own = own_indices(group, bucket);
  if (extent == BufferExtent::whole) return own;
  const int64_t begin = bucket.begin / group.num_shards;
  return {begin, begin + own.size()};
}

LocalRange own_range(const ParameterView& view, BufferExtent extent) {
  return own_range_of(*view.parameter, *view.group, view.bucket, view.begin, extent);
}

LocalRange held_range(const ParameterView& view, BufferExtent extent) {
  const int64_t numel = view.parameter->shape.numel();
  if (extent == BufferExtent::sharded || numel == 0) return own_range(view, extent);
  return {view.parameter, view.bucket, view.begin, view.begin + numel, 0};
}

std::vector<LocalRange> own_ranges(const ParameterGroup& group, BufferExtent extent) {
  std::vector<LocalRange> ranges;
  for (const auto& place : group.places) {
    int64_t begin = place.begin;
    for (const Parameter& p : place.block->members) {
      const LocalRange range = own_range_of(p, group, place.bucket, begin, extent);
      if (!range.empty()) ranges.push_back(range);
      begin += p.shape.numel();
    }
  }
  return ranges;
}

int64_t global_index(const Parameter& parameter, int64_t index) {
  int64_t element = 0, stride = 1;
  for (int i = parameter.shape.rank() - 1; i >= 0; --i) {
    element += (parameter.offset[i] + index % parameter.shape[i]) * stride;
    index /= parameter.shape[i];
    stride *= parameter.global_shape[i];
  }
  return element;
}

}  // namespace trireme

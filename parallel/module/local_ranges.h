// Which elements of the model a rank has: the one place that knows how ranks divide the buffers of a group
// (ZeRO).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "parallel/module/parameter_storage.h"

namespace trireme {

/// The indices [begin, end).
struct IndexRange {
  int64_t begin = 0, end = 0;

  int64_t size() const { return end - begin; }
  bool empty() const { return begin >= end; }
};

/// What lies in both; empty where nothing does.
IndexRange intersection(const IndexRange& a, const IndexRange& b);

/// A buffer of a group is whole (numel elements, indexed like the group) or sharded (numel / num_shards
/// elements: this rank's shards of the buckets, one after the other). Where num_shards is 1 it is the same.
enum class BufferExtent { whole, sharded };
BufferExtent extent_of(const ParameterGroup& group, const Tensor& buffer);

/// This rank's shard of a bucket, as indices of the group: bucket / num_shards elements, those of `shard`.
/// The shards of the ranks that divide a group are disjoint and together the bucket, padding included.
IndexRange own_indices(const ParameterGroup& group, const ParameterBucket& bucket);
/// Where the same elements lie in a buffer of the group.
IndexRange own_place(const ParameterGroup& group, const ParameterBucket& bucket, BufferExtent extent);

/// A run of elements of one parameter in a buffer of its group. They are the elements first, first + 1, ...
/// of the row-major block of extent parameter->shape at parameter->offset in the whole tensor: global_index()
/// says which of it each one is. An empty range has begin = end = first = 0.
struct LocalRange {
  const Parameter* parameter = nullptr;
  size_t bucket = 0;           ///< of the group
  int64_t begin = 0, end = 0;  ///< in the buffer
  int64_t first = 0;           ///< element of the block that lies at `begin`

  int64_t size() const { return end - begin; }
  bool empty() const { return begin == end; }
  Tensor in(const Tensor& buffer) const { return buffer.slice(begin, end); }
};

/// What this rank owns of a parameter: what lies in its shard of the bucket, wherever the buffer has it. A
/// block lies in one bucket, so that this is one run, or none. Over the ranks that divide the group (each
/// with its `shard`) the ranges of a parameter are disjoint, in the order of the ranks, and together its
/// block, each element once; padding is in nobody's. Ranks outside of these may have the same block: replicas
/// of sharded data parallelism, copies on the tensor axis (Parameter::num_copies), and of tied weights
/// (is_tied_copy).
LocalRange own_range(const ParameterView& view, BufferExtent extent);

/// What this rank's buffer has of a parameter: its block in a whole buffer, own_range() in a sharded one.
LocalRange held_range(const ParameterView& view, BufferExtent extent);

/// The own ranges, without the empty ones, of all parameters of a group: ordered as they lie in the buffer,
/// which for either extent is the order of buckets, disjoint, and all of the rank's shard that is not
/// padding.
std::vector<LocalRange> own_ranges(const ParameterGroup& group, BufferExtent extent);

/// The element of the whole tensor, row-major, that is element `index` of this rank's block.
int64_t global_index(const Parameter& parameter, int64_t index);

}  // namespace trireme

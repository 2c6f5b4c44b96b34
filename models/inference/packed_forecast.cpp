// What loading takes, before anything is read (PackedLoader::forecast).
#include <algorithm>

#include "models/inference/packed_loader.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "runtime/ops/packed/quantize_row.h"

namespace trireme {

using ops::PackedFormat;
using ops::PackedSpec;

bool is_packed(const ParameterBlock& block) {
  const std::string& name = block.members.front().name;
  return block.is_matrix() && !name.ends_with(kRouterWeight) && name != "embedding.positions.weight";
}

int64_t sparse_bytes(int64_t bytes, int64_t numbers, double share) {
  return share == 1 ? bytes : static_cast<int64_t>(share * static_cast<double>(bytes)) + numbers / 8;
}

int64_t stored_bytes(const PackedSpec& spec, const Shape& shape, double share) {
  const int64_t bits = spec.format == PackedFormat::int4 ? 4 : 8;
  const int64_t groups = spec.group == 0 ? 1 : (shape[1] + spec.group - 1) / spec.group;
  return sparse_bytes(shape.numel() * bits / 8, shape.numel(), share) +
         shape[0] * groups * (spec.symmetric ? 16 : 16 + bits) / 8;
}

namespace {

/// Of a matrix's file, and of what is made of it on the way, in memory at one time.
int64_t reading_bytes(const PackedMember& member, DType type) {
  const Shape& shape = member.parameter->shape;
  if (member.keeps_codes) {
    const int64_t scales = shape[0] * ops::groups_of(member.spec, shape[1]);
    return shape.numel() + 5 * scales + stored_bytes(member.spec, shape, 1);
  }
  const bool is_whole = !member.stored || member.stored->transposed;
  const StoredBlock block = stored_block(member.stored ? member.stored->format : PackedFormat::f32);
  const int64_t numbers = member.parameter->shape.numel();
  const int64_t file = std::max(numbers / block.elements * block.bytes,
                                member.stored ? 0 : numbers * static_cast<int64_t>(size_of(type)));
  return file + (is_whole ? 4 * numbers : 0);
}

}  // namespace

// Runs of members that are kept alike are one weight; those that keep their codes may each be one by itself.
int64_t PackedLoader::packed_bytes(std::span<const PackedMember> members, int64_t matrices) const {
  int64_t bytes = 0;
  for (size_t begin = 0, end = 0; begin < members.size(); begin = end) {
    const PackedMember& first = members[begin];
    int64_t outputs = 0;
    for (; end < members.size() && is_kept_alike(members[end], first) && (end == begin || !first.keeps_codes);
         ++end)
      outputs += members[end].parameter->shape[0];
    const int64_t together = first.keeps_codes ? 1 : matrices;
    bytes += Allocator::block_size(ops::packed_bytes(first.spec, scales_of(first), together,
                                                     outputs / together, first.parameter->shape[1]));
  }
  return bytes;
}

LoadForecast PackedLoader::forecast(std::span<ParameterBlock* const> blocks) const {
  LoadForecast all;
  for (const ParameterBlock* block : blocks) {
    int64_t packed = 0, read = 0;
    if (is_packed(*block)) {
      const std::vector<PackedMember> members = members_of(*block);
      packed = packed_bytes(members, block->is_of_experts() ? num_experts_of(*block) : 1);
      for (const PackedMember& member : members)
        read += reading_bytes(member, kinds_.find(member.parameter->name)->second.dtype);
    } else {
      packed = Allocator::block_size(4 * block->shape().numel());
      read = 3 * packed;  // in the file, as numbers, and on the device
    }
    all.weight_bytes += packed;
    all.loading_bytes = std::max(all.loading_bytes, all.weight_bytes + read);
    source_.release_pages();
  }
  return all;
}

}  // namespace trireme

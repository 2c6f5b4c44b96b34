// PackedMember: a member of a block whose weights are packed, and the bytes that it takes.
#pragma once

#include <cstdint>
#include <optional>

#include "parallel/checkpoint/weights/weight_source.h"
#include "parallel/module/parameter.h"

namespace trireme {

/// A member of a block, and how it is packed.
struct PackedMember {
  const Parameter* parameter;
  std::optional<StoredMatrix> stored;
  ops::PackedSpec spec;
  /// The codes that the whole matrix is stored as, if it is.
  std::optional<ops::PackedSpec> stored_codes = {};
  bool keeps_codes = false;  ///< they are taken as they are; spec is theirs
};

/// Whether two go into one weight.
inline bool is_kept_alike(const PackedMember& a, const PackedMember& b) {
  return a.spec == b.spec && a.keeps_codes == b.keeps_codes;
}

/// Whether a block's weights are packed: matrices, but routers and tables of positions.
bool is_packed(const ParameterBlock& block);

/// Of `bytes` with all numbers, those with this share of them and a bit for each.
int64_t sparse_bytes(int64_t bytes, int64_t numbers, double share);

/// Bytes of codes and scales in a file, about; `share` of the codes is there.
int64_t stored_bytes(const ops::PackedSpec& spec, const Shape& shape, double share);

}  // namespace trireme

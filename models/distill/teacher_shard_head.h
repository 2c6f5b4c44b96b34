// How a shard of teacher's tokens begins.
#pragma once

#include <cstdint>

#include "models/distill/teacher_files.h"

namespace trireme {

inline constexpr uint64_t kShardMagic = 0x314e4b5443544d54;  // "TMTCTKN1"

struct ShardHead {
  uint64_t magic;
  uint64_t first_sample, num_samples;
  uint64_t description_high, description_low;

  friend bool operator==(const ShardHead&, const ShardHead&) = default;
};
static_assert(sizeof(ShardHead) == 40);

ShardHead shard_head_of(const TeacherDescription& description, int64_t shard);

}  // namespace trireme

// How many gradient buckets may be reduced at a time.
#pragma once

#include <cstddef>

namespace trireme {

/// Buckets whose memory, or whose second sum, waits for a reduction while the backward pass fills others.
inline constexpr size_t kMaxBucketsInFlight = 2;

}  // namespace trireme

// How fast this machine multiplies matrices and moves memory.
#pragma once

#include <algorithm>

#include "runtime/device/context.h"
#include "runtime/profile/rate_estimate.h"
#include "runtime/tensor/dtype.h"

namespace trireme::ops {

/// What a device does at the most.
struct DeviceRates {
  double flops = 0;  ///< FLOP/s of matrix products
  double bytes = 0;  ///< bytes/s, read and written together

  /// What an op takes at the least: the longer of its arithmetic and its memory traffic (the roofline of
  /// Williams et al., CACM 52(4), 2009). On CPUs, whose caches hold what was just written, ops can be faster.
  double least_seconds(double of_flops, double of_bytes) const {
    return std::max(of_flops / flops, of_bytes / bytes);
  }
};

/// What large products reach, and how far that is known.
struct GemmRate {
  double flops = 0;     ///< FLOP/s
  bool is_sure = true;  ///< seen, not inferred from processor time (RateEstimate)
  double share = 1;     ///< of the time in which this rank's threads had a core
};

/// A large product of matrices of normal numbers of `dtype` on the context's device and threads, again and
/// again as `rules` say: what MFU is measured against. Of a device that takes long for a small one, of that.
GemmRate measure_gemm_rate(Context& ctx, DType dtype, const RateRules& rules = {});

/// Bytes/s, read and written together, at which the device changes a tensor in place that no cache holds, the
/// best of several within a fraction of a second: what ops that compute little are measured against. Takes
/// 128 MiB.
double measure_memory_rate(Context& ctx);

/// Both.
DeviceRates measure_device_rates(Context& ctx, DType dtype);

}  // namespace trireme::ops

// The peak GEMM rate of the ranks, against which MFU is measured.
#pragma once

#include <string>
#include <vector>

#include "launch/preflight/thread_advice.h"
#include "launch/profile/peak_rules.h"
#include "launch/profile/peak_store.h"
#include "runtime/comm/communicator.h"
#include "runtime/device/context.h"
#include "runtime/profile/device_rates.h"

namespace trireme::launch {

/// Measured by all ranks at once, and again when a step reaches more. All ranks make it and call measure()
/// and measure_again() together.
class GemmPeak {
 public:
  /// `ctx` and `world` outlive it. `store` is asked by one rank a host.
  GemmPeak(Context& ctx, Communicator& world, DType precision, PeakStore store);

  /// `run_flops` is the arithmetic of the whole run: a short one is not preceded by a long measurement.
  void measure(double run_flops);
  void measure_again();

  /// The share of a step of `flops` FLOP/s over all ranks; this rank's view until measured again.
  double share_of(double flops) { return peak_.share_of(flops); }
  bool is_due() const { return peak_.is_due(); }

  const Peak& peak() const { return peak_.peak(); }
  /// FLOP/s of this rank.
  double rank_flops() const { return rank_flops_; }
  /// The ranks by host.
  const std::vector<HostThreads>& hosts() const { return hosts_; }
  /// For people: peak_text().
  std::string text() const;

 private:
  Peak measure_together();
  std::string key_of(const HostThreads& host) const;

  Context& ctx_;
  Communicator& world_;
  DType precision_;
  PeakStore store_;
  std::vector<RankThreads> ranks_;
  std::vector<HostThreads> hosts_;
  ops::RateRules rules_;
  RisingPeak peak_;
  double rank_flops_ = 0;
};

}  // namespace trireme::launch

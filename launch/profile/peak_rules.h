// Combines the ranks' GEMM rates into a peak, and revises it when steps exceed it.
#pragma once

#include <optional>
#include <span>
#include <string>

namespace trireme::launch {

/// Of one rank.
struct RankRate {
  double flops = 0;     ///< FLOP/s of large products, all ranks at once
  bool is_sure = true;  ///< ops::GemmRate
  double share = 1;     ///< of the time in which its threads had a core
  int threads = 1;
};

/// Where a peak comes from, from the best to the worst.
enum class PeakSource {
  measured,  ///< just now, and sure
  stored,    ///< by an earlier run, when the machine was quiet
  unsure,    ///< just now, on a busy machine
  raised,    ///< a step reached more than was measured
};

struct Peak {
  double flops = 0;  ///< FLOP/s
  PeakSource source = PeakSource::measured;
  double share = 1;        ///< the least of the ranks'
  bool is_capped = false;  ///< threads take turns: it is the rate of the cores

  bool is_sure() const { return source == PeakSource::measured || source == PeakSource::stored; }
};

/// Of the ranks of a host that have `cores` together: the sum of their rates, but no more than each core's at
/// the rate of the fastest thread.
Peak host_peak(std::span<const RankRate> ranks, double cores);

/// `measured`, or what is stored of that machine where that was more, beyond the precision of a measurement,
/// or is surer: a machine that is slower than it was is busy.
Peak better_peak(const Peak& measured, std::optional<double> stored);

/// The sum over hosts, as sure as the least sure of them.
Peak sum_of(std::span<const Peak> hosts);

/// A peak that gives way to steps: no step does more than the ranks can.
class RisingPeak {
 public:
  explicit RisingPeak(const Peak& peak = {}) : peak_(peak) {}

  const Peak& peak() const { return peak_; }
  /// The share (0 to 1) that a step of `flops` FLOP/s had. One that reached more raises the peak to that,
  /// which is not sure until it was measured again.
  double share_of(double flops);
  /// The most that a step reached, where it was more than the peak; 0: none.
  double reached() const { return reached_; }
  /// Whether to measure again, because of such a step; a few times at the most.
  bool is_due() const { return is_due_; }
  /// What was measured again. A step that reached more, `reached` FLOP/s, still counts: within the precision
  /// of a measurement it is as sure as that.
  void replace(const Peak& measured, double reached);

 private:
  static constexpr int kMostTimes = 3;
  Peak peak_;
  double reached_ = 0;
  bool is_due_ = false;
  int times_ = 0;
};

/// "measured", "stored", "unsure" or "raised".
std::string text_of(PeakSource source);

/// What people read: "MFU is against 0.312 TFLOP/s: the bf16 GEMM rate of 2 rank(s), just measured".
/// `of` is "bf16 GEMM rate of 2 rank(s)".
std::string peak_text(const Peak& peak, const std::string& of);

}  // namespace trireme::launch

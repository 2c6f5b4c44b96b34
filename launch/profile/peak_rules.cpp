#include "launch/profile/peak_rules.h"

#include <algorithm>

#include <fmt/format.h>

namespace trireme::launch {

namespace {

constexpr double kQuiet = 0.9;       // share of the time with a core on a machine that does nothing else
constexpr double kPrecision = 1.05;  // to which a rate is measured

}  // namespace

Peak host_peak(std::span<const RankRate> ranks, double cores) {
  Peak peak;
  double fastest = 0;  // thread
  for (const RankRate& rank : ranks) {
    peak.flops += rank.flops;
    peak.share = std::min(peak.share, rank.share);
    if (!rank.is_sure) peak.source = PeakSource::unsure;
    fastest = std::max(fastest, rank.flops / std::max(rank.threads, 1));
  }
  if (cores > 0 && peak.flops > cores * fastest) {
    peak.flops = cores * fastest;
    peak.is_capped = true;
  }
  return peak;
}

Peak better_peak(const Peak& measured, std::optional<double> stored) {
  // Who shares caches, or the other half of a core, makes products slower without taking time slices.
  if (!stored || (measured.is_sure() && kPrecision * measured.flops >= *stored)) return measured;
  Peak peak = measured;
  peak.flops = *stored;
  peak.source = PeakSource::stored;
  return peak;
}

Peak sum_of(std::span<const Peak> hosts) {
  Peak sum;
  for (const Peak& host : hosts) {
    sum.flops += host.flops;
    sum.source = std::max(sum.source, host.source);
    sum.share = std::min(sum.share, host.share);
    sum.is_capped = sum.is_capped || host.is_capped;
  }
  return sum;
}

double RisingPeak::share_of(double flops) {
  if (flops <= peak_.flops) return flops / peak_.flops;
  reached_ = flops;
  peak_.flops = flops;
  peak_.source = PeakSource::raised;
  is_due_ = times_ < kMostTimes;
  return 1;
}

void RisingPeak::replace(const Peak& measured, double reached) {
  peak_ = measured;
  is_due_ = false;
  ++times_;
  if (reached <= measured.flops) {
    reached_ = 0;
    return;
  }
  reached_ = reached;
  peak_.flops = reached;
  if (!measured.is_sure() || reached > kPrecision * measured.flops) peak_.source = PeakSource::raised;
}

std::string text_of(PeakSource source) {
  constexpr const char* kNames[] = {"measured", "stored", "unsure", "raised"};
  return kNames[static_cast<size_t>(source)];
}

std::string peak_text(const Peak& peak, const std::string& of) {
  std::string text = fmt::format("MFU is against {:.3f} TFLOP/s: ", peak.flops * 1e-12);
  const std::string busy =
      fmt::format("this machine is busy: threads had a core {:.0f} % of the time", 100 * peak.share);
  switch (peak.source) {
    case PeakSource::measured:
      text += fmt::format("the {}, just measured", of);
      break;
    case PeakSource::stored:
      text += fmt::format("the {}, stored by an earlier run: {}", of,
                          peak.share < kQuiet ? busy : "matrix products are slower now");
      break;
    case PeakSource::unsure:
      text += fmt::format("the {} by processor time, which is uncertain (MFU is marked ?): {}", of,
                          peak.share < kQuiet ? busy : "repeated measurements differed too much");
      break;
    case PeakSource::raised:
      text += fmt::format(
          "the rate a step reached, above the measured {}, so it is uncertain (MFU is marked ?)", of);
      break;
  }
  if (peak.is_capped) text += "; more threads than cores: it is the rate of the cores";
  return text;
}

}  // namespace trireme::launch

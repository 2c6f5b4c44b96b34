#include "launch/profile/gemm_peak.h"

#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include "launch/preflight/choose_device.h"
#include "launch/process/build_info.h"
#include "launch/report/banner.h"

namespace trireme::launch {

namespace {

template <class T>
std::vector<T> gathered(Context& ctx, Communicator& world, T mine) {
  constexpr auto kBytes = static_cast<int64_t>(sizeof(T));
  std::vector<T> all(static_cast<size_t>(world.size()));
  world.all_gather(ctx.host_stream(), Tensor::borrow(&mine, {kBytes}, DType::u8),
                   Tensor::borrow(all.data(), {kBytes * world.size()}, DType::u8));
  return all;
}

// Limits that users set; both names are oneDNN's.
std::string isa_limit() {
  for (const char* variable : {"ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"}) {
    if (const char* limit = std::getenv(variable)) return fmt::format(" up to {}", limit);
  }
  return "";
}

std::string library(const std::string& name) {
  for (const auto& [key, version] : build_info().libraries) {
    if (key == name) return name + " " + version;
  }
  return name;
}

}  // namespace

GemmPeak::GemmPeak(Context& ctx, Communicator& world, DType precision, PeakStore store)
    : ctx_(ctx), world_(world), precision_(precision), store_(std::move(store)) {
  ranks_ = gathered(ctx_, world_, rank_threads(ctx_.num_threads()));
  hosts_ = host_threads(ranks_);
}

void GemmPeak::measure(double run_flops) {
  constexpr double kShare = 0.1;  // of the run
  rules_.most_flops = kShare * run_flops / world_.size();
  peak_ = RisingPeak(measure_together());
}

void GemmPeak::measure_again() {
  double reached = peak_.reached();
  world_.all_reduce(ctx_.host_stream(), Tensor::borrow(&reached, {1}, DType::f64), ReduceOp::max);
  peak_.replace(measure_together(), reached);
}

Peak GemmPeak::measure_together() {
  const bool is_on_cpu = ctx_.device().type == DeviceType::cpu;
  world_.barrier(ctx_.stream());
  ops::GemmRate rate{rank_flops_, false, 1};
  try {
    rate = ops::measure_gemm_rate(ctx_, precision_, rules_);
  } catch (const OutOfMemory&) {  // between two steps of a run that fills its device
    if (rank_flops_ == 0) throw;
  }
  rank_flops_ = rate.flops;
  ctx_.allocator().trim();  // training does not need the tensors
  const auto rates =
      gathered(ctx_, world_, RankRate{rate.flops, rate.is_sure, rate.share, ctx_.num_threads()});
  std::vector<Peak> peaks;
  std::vector<double> stored(hosts_.size(), 0);
  for (size_t h = 0; h < hosts_.size(); ++h) {
    std::vector<RankRate> of_host;
    for (size_t r = 0; r < ranks_.size(); ++r) {
      if (ranks_[r].host == hosts_[h].host) of_host.push_back(rates[r]);
    }
    peaks.push_back(host_peak(of_host, is_on_cpu ? hosts_[h].cores() : 0));
    if (hosts_[h].first_rank != world_.rank()) continue;
    stored[h] = store_.find(key_of(hosts_[h])).value_or(0);
    if (peaks[h].is_sure()) store_.keep(key_of(hosts_[h]), peaks[h].flops);
  }
  const auto num_hosts = static_cast<int64_t>(hosts_.size());
  world_.all_reduce(ctx_.host_stream(), Tensor::borrow(stored.data(), {num_hosts}, DType::f64));
  for (size_t h = 0; h < hosts_.size(); ++h) {
    peaks[h] = better_peak(peaks[h], stored[h] > 0 ? std::optional(stored[h]) : std::nullopt);
  }
  return sum_of(peaks);
}

std::string GemmPeak::key_of(const HostThreads& host) const {
  const bool is_on_cpu = ctx_.device().type == DeviceType::cpu;
  return fmt::format("{}{}; {}; {} ranks, {} threads, {:.3g} cores; {}", device_text(ctx_.device()),
                     is_on_cpu ? isa_limit() : "", precision_name(precision_), host.num_ranks, host.threads,
                     host.cores(), library(is_on_cpu ? "oneDNN" : "GPU"));
}

std::string GemmPeak::text() const {
  return peak_text(peak(),
                   fmt::format("{} GEMM rate of {} rank(s)", precision_name(precision_), world_.size()));
}

}  // namespace trireme::launch

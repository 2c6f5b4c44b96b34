#include "launch/trace/rank_trace.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "launch/profile/step_account.h"

namespace trireme::launch {

RankTrace::RankTrace(Context& ctx, const ParallelContext& parallel, int64_t max_events)
    : ctx_(ctx),
      world_(parallel.world()),
      max_events_(max_events),
      site_rows_(data_, [this](TraceName name) { return intern(std::move(name)); }),
      lanes_(data_),
      timeline_(ctx),
      entry_clock_(timeline_.clock()),
      wait_clock_(timeline_.clock()) {
  data_.begin_ns = timeline_.clock().start_ns();
  for (const auto& [number, part] : world_.parts()) communicators_.push_back(number);
  world_.observe_waits(*this);
  if (Recorder* recorder = ctx.recorder(); recorder != nullptr) {
    calls_.emplace(*recorder);
    recorder->observe_sites(*this);
  }
  sample_memory();
}

RankTrace::~RankTrace() { detach(); }

void RankTrace::detach() {
  if (!std::exchange(is_observing_, false)) return;
  world_.ignore_waits(*this);
  if (ctx_.recorder() != nullptr) ctx_.recorder()->ignore_sites(*this);
  timeline_.end_observing();
}

int32_t RankTrace::intern(TraceName name) {
  std::string key = name.name + '\n' + name.category + '\n' + name.args;
  const auto [found, is_new] = numbers_.emplace(std::move(key), static_cast<int32_t>(data_.names.size()));
  if (is_new) data_.names.push_back(std::move(name));
  return found->second;
}

// Differences of a device's events are rounded: slices of a row must not seem to overlap.
void RankTrace::add(int64_t begin_ns, int64_t ns, TraceRow row, TraceName name) {
  const int64_t end = std::max(begin_ns + ns, last_end_[row]);
  begin_ns = std::max(begin_ns, last_end_[row]);
  data_.slices.push_back({begin_ns, end - begin_ns, intern(std::move(name)), row, 0});
  last_end_[row] = end;
}

void RankTrace::count() {
  const auto pending = static_cast<int64_t>(waits_.size() + entries_.size()) + timeline_.num_pending();
  if (data_.is_full || data_.num_events() + pending < max_events_) return;
  data_.is_full = true;
  timeline_.end_observing();
}

void RankTrace::sample_memory() {
  const MemoryStats stats = ctx_.allocator().stats();
  MemorySample sample{steady_ns(), {}};
  for (size_t i = 0; i < sample.bytes.size(); ++i) sample.bytes[i] = stats.by_category[i].current;
  if (data_.memory.empty() || data_.memory.back().bytes != sample.bytes) data_.memory.push_back(sample);
}

void RankTrace::begin_wait(Stream& stream, std::string_view group, std::string_view operation) {
  if (stream.device() != ctx_.device() || wait_depth_++ > 0 || data_.is_full) return;
  waits_.push_back({std::string(group), std::string(operation), stream.record_time(), nullptr});
}

void RankTrace::end_wait(Stream& stream) {
  if (stream.device() != ctx_.device() || --wait_depth_ > 0) return;
  if (waits_.empty() || waits_.back().end) return;  // it was full
  waits_.back().end = stream.record_time();
  count();
}

void RankTrace::entered(const CallSite& site) {
  if (data_.is_full) return;
  is_step_over_ = false;
  entries_.push_back({ctx_.stream().record_time(), site});
  sample_memory();
  if (calls_ && calls_->is_filling()) take_calls(false);
  count();
}

void RankTrace::take_ops(std::vector<TimedOp> ops) {
  const auto ns = [](double ms) { return static_cast<int64_t>(ms * 1e6 + 0.5); };
  for (const TimedOp& op : ops) {
    const nlohmann::ordered_json args = {{"shapes", op.shapes}, {"flops", op.flops}, {"bytes", op.bytes}};
    add(timeline_.clock().start_ns() + ns(op.begin_ms), ns(op.ms), kOpRow,
        {op.name, kind_of(op), args.dump()});
  }
}

void RankTrace::take_waits() {
  for (; !waits_.empty(); waits_.pop_front()) {
    Wait& wait = waits_.front();
    if (!wait.end) {
      if (waits_.size() == 1 && wait_depth_ > 0) break;
      continue;  // the call threw
    }
    if (!wait.end->is_done()) break;
    const double ms = wait.end->milliseconds_since(*wait.begin);
    add(wait_clock_.ns_of(*wait.begin), static_cast<int64_t>(ms * 1e6 + 0.5), kWaitRow,
        {wait.operation, wait.group, ""});
    wait_clock_.advance(std::move(wait.end));
  }
}

void RankTrace::take_sites() {
  for (; !entries_.empty() && entries_.front().at->is_done(); entries_.pop_front()) {
    site_rows_.enter(entry_clock_.ns_of(*entries_.front().at), entries_.front().site);
    entry_clock_.advance(std::move(entries_.front().at));
  }
}

void RankTrace::take_calls(bool all) {
  if (!calls_) return;
  std::vector<std::pair<RecordedGroup, std::vector<CallRecord>>> by_group;
  calls_->take(
      [&](const RecordedGroup& group, const CallRecord& call) {
        if (group.members.size() < 2) return;
        if (by_group.empty() || by_group.back().first.id != group.id) by_group.push_back({group, {}});
        by_group.back().second.push_back(call);
      },
      all);
  for (auto& [group, calls] : by_group) lanes_.add(group, std::move(calls));
  data_.num_lost_calls = calls_->num_lost();
}

void RankTrace::take_done() {
  take_ops(timeline_.take());
  take_waits();
  take_sites();
}

void RankTrace::end_step(double tokens_per_second) {
  is_step_over_ = true;
  take_done();
  if (data_.is_full) return;
  take_calls(false);
  sample_memory();
  data_.tokens_per_second.emplace_back(steady_ns(), tokens_per_second);
  count();
}

RankTraceData RankTrace::stop() {
  detach();
  OpTimes times = timeline_.stop();
  take_ops(std::move(times.ops));
  take_waits();
  take_sites();
  take_calls(true);
  data_.end_ns = std::max(
      {data_.begin_ns + static_cast<int64_t>(times.ms * 1e6 + 0.5), last_end_[kOpRow], last_end_[kWaitRow]});
  site_rows_.finish(data_.is_full ? 0 : data_.end_ns, is_step_over_ && !data_.is_full);
  return std::move(data_);
}

}  // namespace trireme::launch

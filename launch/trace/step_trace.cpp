#include "launch/trace/step_trace.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/process/build_info.h"
#include "launch/trace/trace_file.h"
#include "launch/trace/trace_json.h"
#include "launch/trace/trace_parts.h"

namespace trireme::launch {

namespace {

using Json = nlohmann::ordered_json;

/// Begins when all ranks have done what they were given.
Context& all_together(Context& ctx, Communicator& world) {
  ctx.stream().synchronize();
  world.barrier(ctx.host_stream());
  return ctx;
}

int64_t share_of_events(int64_t all, int ranks) {
  constexpr int64_t kLeast = 1000;
  return std::max(kLeast, all / ranks);
}

std::string_view bytes_of(const std::vector<FlowEnd>& ends, size_t first, size_t num) {
  return {reinterpret_cast<const char*>(ends.data() + first), num * sizeof(FlowEnd)};
}

void append(std::vector<FlowEnd>& ends, std::string_view bytes) {
  const size_t before = ends.size();
  ends.resize(before + bytes.size() / sizeof(FlowEnd));
  std::memcpy(ends.data() + before, bytes.data(), bytes.size());
}

Json clock_json(int rank, const std::string& host, const AlignedClock& clock) {
  return {{"rank", rank},
          {"host", host},
          {"offset_us", static_cast<double>(clock.first().offset_ns) * 1e-3},
          {"round_trip_us", static_cast<double>(clock.first().round_trip_ns) * 1e-3},
          {"drift_us", static_cast<double>(clock.drift_ns()) * 1e-3}};
}

}  // namespace

/// What all ranks know of the trace.
struct StepTrace::Extent {
  StepRange steps;
  int64_t origin_ns = 0;                                 // by the clock of the first rank
  int64_t cut_ns = std::numeric_limits<int64_t>::max();  // by this rank's clock
  int64_t num_lost_calls = 0;
  bool is_cut = false;   // ended early
  bool is_whole = true;  // else not even its first step is
};

StepTrace::StepTrace(Context& ctx, const ParallelContext& parallel, TraceOptions options)
    : ctx_(ctx),
      parallel_(parallel),
      options_(std::move(options)),
      first_offset_(measure_clock_offset(parallel.world(), ctx.host_stream(), options_.clock)),
      trace_(std::make_unique<RankTrace>(all_together(ctx, parallel.world()), parallel,
                                         share_of_events(options_.max_events, parallel.world().size()))) {}

void StepTrace::end_step(double tokens_per_second) {
  ++num_ended_;
  trace_->end_step(tokens_per_second);
}

StepTrace::Extent StepTrace::agree(const RankTraceData& data, const AlignedClock& clock) {
  const int64_t last_whole = data.steps.empty() ? 0 : data.steps.back().step;
  int64_t least[3] = {last_whole, data.is_full ? 0 : 1, clock.aligned(data.begin_ns)};
  int64_t lost = data.num_lost_calls;
  Communicator& world = parallel_.world();
  world.all_reduce(ctx_.host_stream(), Tensor::borrow(least, {3}, DType::i64), ReduceOp::min);
  world.all_reduce(ctx_.host_stream(), Tensor::borrow(&lost, {1}, DType::i64));
  Extent extent{.steps = options_.steps, .origin_ns = least[2], .num_lost_calls = lost};
  extent.is_cut = least[1] == 0;
  extent.steps.last = options_.steps.first + std::max<int64_t>(num_ended_, 1) - 1;
  if (!extent.is_cut) return extent;
  extent.is_whole = least[0] >= options_.steps.first;
  extent.steps.last = std::max(least[0], options_.steps.first);
  if (const auto step = std::ranges::find(data.steps, least[0], &StepSpan::step); step != data.steps.end())
    extent.cut_ns = step->end_ns;
  return extent;
}

TraceResult StepTrace::finish(const std::function<std::string(const StepRange&)>& file_of,
                              const ops::DeviceRates* rates) {
  Communicator& world = parallel_.world();
  const RankTraceData data = trace_->stop();
  const AlignedClock clock(first_offset_, measure_clock_offset(world, ctx_.host_stream(), options_.clock));
  const Extent extent = agree(data, clock);
  const TracedRank rank{world.rank(), traced_name(parallel_, options_.host)};
  const auto to_trace = [&](int64_t ns) { return clock.aligned(ns) - extent.origin_ns; };
  Json own = {{"clock", clock_json(world.rank(), options_.host, clock)}};
  if (rates != nullptr) own["account"] = to_json(account_of(data, *rates));

  if (world.rank() != 0) {
    PartSender sender(world, ctx_.host_stream());
    RankEvents events(rank, data, to_trace, extent.cut_ns, [&](std::string_view t) { sender.send(t); });
    events.write_all();
    sender.end();
    constexpr size_t kFlowEnds = 4096;  // of a piece
    const auto& ends = events.flow_ends();
    for (size_t i = 0; i < ends.size(); i += kFlowEnds)
      sender.send(bytes_of(ends, i, std::min(kFlowEnds, ends.size() - i)));
    sender.end();
    sender.send(own.dump());
    sender.end();
    return {};
  }
  TraceResult result{.steps = extent.steps, .file = file_of(extent.steps)};
  TraceFile file(result.file);
  RankEvents events(rank, data, to_trace, extent.cut_ns, [&](std::string_view text) { file.add(text); });
  events.write_all();
  std::vector<FlowEnd> ends = events.flow_ends();
  std::vector<Json> of_ranks = {std::move(own)};
  for (int other = 1; other < world.size(); ++other) {
    std::string json;
    receive_parts(world, ctx_.host_stream(), other, [&](std::string_view text) { file.add(text); });
    receive_parts(world, ctx_.host_stream(), other, [&](std::string_view bytes) { append(ends, bytes); });
    receive_parts(world, ctx_.host_stream(), other, [&](std::string_view text) { json += text; });
    of_ranks.push_back(Json::parse(json));
  }
  write_end(file, extent, std::move(ends), of_ranks, result);
  return result;
}

void StepTrace::write_end(TraceFile& file, const Extent& extent, std::vector<FlowEnd> ends,
                          const std::vector<Json>& of_ranks, TraceResult& result) const {
  int64_t num_backwards = 0, id = 0;
  for (const Flow& flow : match_flows(std::move(ends), num_backwards)) file.add(flow_events(flow, ++id));
  Json metadata = {{"program", build_line()},
                   {"first_step", extent.steps.first},
                   {"last_step", extent.steps.last},
                   {"ranks", of_ranks.size()},
                   {"clock", "microseconds of the first rank's steady clock since the trace began"},
                   {"clocks", Json::array()}};
  Json accounts = Json::array();
  for (const Json& of_rank : of_ranks) {
    metadata["clocks"].push_back(of_rank.at("clock"));
    if (!of_rank.contains("account")) continue;
    accounts.push_back(of_rank.at("account"));
    result.accounts.push_back(account_from_json(of_rank.at("account")));
  }
  if (extent.is_cut) {
    result.notes.push_back(
        extent.is_whole
            ? fmt::format(
                  "the trace ends early, after step {}: a rank has reached its share of the {} events "
                  "that a trace may have",
                  extent.steps.last, options_.max_events)
            : fmt::format("the trace ends within step {}: a rank has reached its share of the {} events that "
                          "a trace may have",
                          extent.steps.first, options_.max_events));
    metadata["ended_early"] = result.notes.back();
  }
  if (extent.num_lost_calls > 0) {
    result.notes.push_back(fmt::format(
        "the trace lacks {} calls of communicators, which were overwritten before they were read: more "
        "--run.record-calls keeps them",
        extent.num_lost_calls));
    metadata["lost_calls"] = extent.num_lost_calls;
  }
  if (num_backwards > 0) metadata["arrows_left_out"] = num_backwards;
  Json members = {{"metadata", metadata}};
  if (!accounts.empty()) members["accounts"] = accounts;
  file.finish(members);
  if (!file.failure().empty()) result.notes.push_back(file.failure());
}

std::string traced_name(const ParallelContext& parallel, const std::string& host) {
  return fmt::format("rank {}: {}, dp {} pp {} cp {} tp {} ep {}", parallel.world().rank(), host,
                     parallel.data().rank(), parallel.pipeline().rank(), parallel.context().rank(),
                     parallel.tensor().rank(), parallel.experts().rank());
}

StepAccount account_of(const RankTraceData& data, const ops::DeviceRates& rates) {
  constexpr double kMs = 1e-6;
  std::vector<TimedOp> named;
  for (const TraceName& name : data.names) {
    TimedOp& op = named.emplace_back();
    op.name = name.name;
    if (name.args.empty()) continue;
    const auto args = Json::parse(name.args);
    op.shapes = args.at("shapes");
    op.flops = args.at("flops");
    op.bytes = args.at("bytes");
  }
  OpTimes times;
  times.ms = static_cast<double>(data.end_ns - data.begin_ns) * kMs;
  for (const TraceSlice& slice : data.slices) {
    if (slice.row != kOpRow) continue;
    TimedOp& op = times.ops.emplace_back(named[static_cast<size_t>(slice.name)]);
    op.begin_ms = static_cast<double>(slice.begin_ns - data.begin_ns) * kMs;
    op.ms = static_cast<double>(slice.ns) * kMs;
  }
  StepAccount account = account_of(times, rates);
  for (const TraceSlice& slice : data.slices) {
    if (slice.row != kWaitRow) continue;
    account.add_wait(data.names[static_cast<size_t>(slice.name)].category,
                     static_cast<double>(slice.ns) * kMs);
  }
  return account;
}

}  // namespace trireme::launch

#include "launch/trace/trace_json.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trireme::launch {

namespace {

constexpr size_t kChunkBytes = 256 << 10;

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// Microseconds, without rounding.
std::string us(int64_t ns) {
  const char* sign = ns < 0 ? "-" : "";
  const int64_t size = ns < 0 ? -ns : ns;
  return fmt::format("{}{}.{:03}", sign, size / 1000, size % 1000);
}

std::string row_name(int rank, int row, const std::string& name, int order) {
  return fmt::format(
      R"({{"name":"thread_name","ph":"M","pid":{0},"tid":{1},"args":{{"name":{2}}}}},
{{"name":"thread_sort_index","ph":"M","pid":{0},"tid":{1},"args":{{"sort_index":{3}}}}})",
      rank, row, quoted(name), order);
}

std::string call_args(const RecordedGroup& group, const TracedCall& traced) {
  const CallRecord& call = traced.call;
  std::string text = fmt::format(R"("group":{},"ranks":{},"sequence":{},"queued_us":{})", quoted(group.name),
                                 group.members.size(), call.sequence, us(call.started_ns - call.enqueued_ns));
  if (call.count >= 0) text += fmt::format(R"(,"count":{},"dtype":"{}")", call.count, to_string(call.dtype));
  if (call.kind == CommKind::all_reduce || call.kind == CommKind::reduce_scatter)
    text += fmt::format(R"(,"op":"{}")", to_string(call.op));
  if (call.peer >= 0)
    text += fmt::format(R"(,"{}":{})", is_point_to_point(call.kind) ? "peer" : "root",
                        group.members[static_cast<size_t>(call.peer)]);
  if (call.label[0] != '\0') text += fmt::format(R"(,"label":{})", quoted(call.label));
  text += fmt::format(R"(,"phase":"{}","step":{})", to_string(call.site.phase), call.site.step);
  if (call.site.micro_batch >= 0) text += fmt::format(R"(,"micro_batch":{})", call.site.micro_batch);
  if (call.site.layer >= 0) text += fmt::format(R"(,"layer":{})", call.site.layer);
  if (call.ended_ns == 0) text += R"(,"unfinished":true)";
  return text;
}

FlowEnd flow_end(const RecordedGroup& group, const CallRecord& call) {
  FlowEnd end;
  end.group = group.id;
  end.sequence = call.sequence;
  if (call.kind == CommKind::send) end.from = group.rank, end.to = call.peer;
  if (call.kind == CommKind::receive) end.from = call.peer, end.to = group.rank;
  if (call.kind == CommKind::broadcast) end.root = call.peer;
  end.rank_in_group = group.rank;
  end.group_size = static_cast<int32_t>(group.members.size());
  end.kind = call.kind;
  end.is_over = call.ended_ns != 0;
  return end;
}

}  // namespace

RankEvents::RankEvents(const TracedRank& rank, const RankTraceData& data,
                       std::function<int64_t(int64_t)> to_trace_ns, int64_t last_ns, Write write)
    : rank_(rank),
      data_(data),
      to_trace_ns_(std::move(to_trace_ns)),
      last_ns_(last_ns),
      write_(std::move(write)) {}

void RankEvents::add(std::string_view event) {
  text_ += event;
  text_ += ",\n";
  ++num_written_;
  if (text_.size() >= kChunkBytes) flush();
}

void RankEvents::flush() {
  if (!text_.empty()) write_(text_);
  text_.clear();
}

void RankEvents::write_all() {
  write_names();
  write_slices();
  write_calls();
  write_counters();
  flush();
}

void RankEvents::write_names() {
  add(fmt::format(R"({{"name":"process_name","ph":"M","pid":{0},"tid":0,"args":{{"name":{1}}}}},
{{"name":"process_sort_index","ph":"M","pid":{0},"tid":0,"args":{{"sort_index":{0}}}}})",
                  rank_.rank, quoted(rank_.name)));
  add(row_name(rank_.rank, kStepRow, "steps, phases, layers", 0));
  add(row_name(rank_.rank, kOpRow, "ops", 1));
  add(row_name(rank_.rank, kWaitRow, "waits", 2));
  for (size_t i = 0; i < data_.rows.size(); ++i) {
    const auto& [group, lane] = data_.rows[i];
    std::string name = "group " + data_.groups[static_cast<size_t>(group)].name;
    if (lane > 0) name += fmt::format(" {}", lane + 1);
    add(row_name(rank_.rank, kFirstGroupRow + static_cast<int>(i), name, 10 + 100 * group + lane));
  }
}

void RankEvents::write_slices() {
  std::vector<TraceSlice> slices = data_.slices;
  std::ranges::sort(slices, {},
                    [](const TraceSlice& s) { return std::tuple(s.row, s.begin_ns, -s.ns, s.depth); });
  for (const TraceSlice& slice : slices) {
    if (slice.begin_ns >= last_ns_) continue;
    const TraceName& name = data_.names[static_cast<size_t>(slice.name)];
    const int64_t begin = to_trace_ns_(slice.begin_ns);
    const int64_t ns = to_trace_ns_(slice.begin_ns + slice.ns) - begin;
    add(fmt::format(R"({{"name":{},"cat":{},"ph":"X","ts":{},"dur":{},"pid":{},"tid":{}{}{}}})",
                    quoted(name.name), quoted(name.category), us(begin), us(ns), rank_.rank, slice.row,
                    name.args.empty() ? "" : ",\"args\":", name.args));
  }
}

void RankEvents::write_calls() {
  for (const TracedCall& traced : data_.calls) {
    const CallRecord& call = traced.call;
    if (call.started_ns >= last_ns_) continue;
    const RecordedGroup& group = data_.groups[static_cast<size_t>(traced.group)];
    FlowEnd end = flow_end(group, call);
    end.rank = rank_.rank;
    end.row = traced.row;
    end.begin_ns = to_trace_ns_(call.started_ns);
    end.end_ns = call.ended_ns == 0 ? end.begin_ns : to_trace_ns_(std::max(call.ended_ns, call.started_ns));
    flow_ends_.push_back(end);
    add(fmt::format(
        R"({{"name":"{}","cat":"communication","ph":"X","ts":{},"dur":{},"pid":{},"tid":{},"args":{{{}}}}})",
        to_string(call.kind), us(end.begin_ns), us(end.end_ns - end.begin_ns), rank_.rank, traced.row,
        call_args(group, traced)));
  }
}

void RankEvents::write_counters() {
  for (const MemorySample& sample : data_.memory) {
    if (sample.ns >= last_ns_) continue;
    std::string args;
    for (size_t i = 0; i < sample.bytes.size(); ++i) {
      args += fmt::format(R"({}"{}":{})", i == 0 ? "" : ",", to_string(static_cast<MemoryCategory>(i)),
                          sample.bytes[i]);
    }
    add(fmt::format(R"({{"name":"memory in bytes","ph":"C","ts":{},"pid":{},"args":{{{}}}}})",
                    us(to_trace_ns_(sample.ns)), rank_.rank, args));
  }
  for (const auto& [ns, rate] : data_.tokens_per_second) {
    if (rank_.rank != 0 || ns >= last_ns_) continue;
    add(fmt::format(R"({{"name":"tokens/s","ph":"C","ts":{},"pid":0,"args":{{"tokens/s":{:.1f}}}}})",
                    us(to_trace_ns_(ns)), rate));
  }
}

std::string flow_events(const Flow& flow, int64_t id) {
  const std::string_view name = is_point_to_point(flow.kind) ? "message" : to_string(flow.kind);
  const auto end = [&](const char* phase, int64_t ns, int rank, int row) {
    return fmt::format(R"({{"name":"{}","cat":"flow","ph":{},"id":{},"ts":{},"pid":{},"tid":{}}},)"
                       "\n",
                       name, phase, id, us(ns), rank, row);
  };
  return end("\"s\"", flow.from_ns, flow.from_rank, flow.from_row) +
         end("\"f\",\"bp\":\"e\"", flow.to_ns, flow.to_rank, flow.to_row);
}

}  // namespace trireme::launch

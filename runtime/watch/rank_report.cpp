#include "runtime/watch/rank_report.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

namespace trireme::watch {

namespace {

using Json = nlohmann::json;

bool is_reduction(CommKind kind) { return kind == CommKind::all_reduce || kind == CommKind::reduce_scatter; }

Json site_to_json(const CallSite& site) {
  return {{"phase", to_string(site.phase)},
          {"step", site.step},
          {"micro_batch", site.micro_batch},
          {"layer", site.layer}};
}

template <class E>
E value_of_name(const std::string& name, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (to_string(static_cast<E>(i)) == name) return static_cast<E>(i);
  }
  throw Json::other_error::create(501, "unknown name: " + name, static_cast<const Json*>(nullptr));
}

CallSite site_from_json(const Json& json) {
  return {value_of_name<Phase>(json.at("phase"), kNumPhases), json.at("step"), json.at("micro_batch"),
          json.at("layer")};
}

Json call_to_json(const CallRecord& call) {
  return {{"sequence", call.sequence},
          {"kind", to_string(call.kind)},
          {"op", to_string(call.op)},
          {"dtype", static_cast<int>(call.dtype)},
          {"type", to_string(call.dtype)},
          {"count", call.count},
          {"peer", call.peer},
          {"label", std::string(call.label)},
          {"site", site_to_json(call.site)},
          {"enqueued_ns", call.enqueued_ns},
          {"started_ns", call.started_ns},
          {"ended_ns", call.ended_ns}};
}

CallRecord call_from_json(const Json& json) {
  CallRecord call;
  call.sequence = json.at("sequence");
  call.kind = value_of_name<CommKind>(json.at("kind"), 10);
  call.op = value_of_name<ReduceOp>(json.at("op"), 3);
  call.dtype = static_cast<DType>(json.at("dtype").get<int>());
  call.count = json.at("count");
  call.peer = json.at("peer");
  const std::string label = json.at("label");
  label.copy(call.label, sizeof call.label - 1);
  call.site = site_from_json(json.at("site"));
  call.enqueued_ns = json.at("enqueued_ns");
  call.started_ns = json.at("started_ns");
  call.ended_ns = json.at("ended_ns");
  return call;
}

Json history_to_json(const CommHistory& history, size_t most_calls) {
  Json calls = Json::array();
  const size_t first_of_newest = history.calls.size() - std::min(history.calls.size(), most_calls);
  for (size_t i = 0; i < history.calls.size(); ++i) {
    if (i >= first_of_newest || history.calls[i].ended_ns == 0)
      calls.push_back(call_to_json(history.calls[i]));
  }
  return {{"name", history.name},
          {"backend", history.backend},
          {"id", history.id},
          {"members", history.members},
          {"rank", history.rank},
          {"calls", std::move(calls)},
          {"num_collectives", history.num_collectives},
          {"num_calls", history.num_calls}};
}

CommHistory history_from_json(const Json& json) {
  CommHistory history;
  history.name = json.at("name");
  history.backend = json.at("backend");
  history.id = json.at("id");
  history.members = json.at("members").get<std::vector<int>>();
  history.rank = json.at("rank");
  for (const Json& call : json.at("calls")) history.calls.push_back(call_from_json(call));
  history.num_collectives = json.at("num_collectives");
  history.num_calls = json.at("num_calls");
  return history;
}

}  // namespace

std::string to_string(const CallSite& site) {
  std::string text = site.step >= 0 ? fmt::format("step {}, ", site.step) : "";
  text += to_string(site.phase);
  if (site.micro_batch >= 0) text += fmt::format(", micro-batch {}", site.micro_batch);
  if (site.layer >= 0) text += fmt::format(", layer {}", site.layer);
  return text;
}

std::string call_name(const CommHistory& history, const CallRecord& call) {
  if (!is_point_to_point(call.kind))
    return fmt::format("{} #{} of {}", to_string(call.kind), call.sequence, history.name);
  const auto peer = static_cast<size_t>(call.peer);
  return fmt::format("{} #{} {} rank {} of {}", to_string(call.kind), call.sequence,
                     call.kind == CommKind::send ? "to" : "from",
                     peer < history.members.size() ? history.members[peer] : call.peer, history.name);
}

std::string call_arguments(const CallRecord& call) {
  std::string text;
  const auto add = [&](std::string_view part) {
    if (!text.empty()) text += ", ";
    text += part;
  };
  if (is_reduction(call.kind)) add(to_string(call.op));
  if (call.count >= 0) {
    add(to_string(call.dtype));
    add(fmt::format("{} elements", call.count));
  }
  if (call.kind == CommKind::broadcast) add(fmt::format("root {}", call.peer));
  if (call.label[0] != 0) add(call.label);
  return text;
}

Json to_json(const RankReport& report, size_t most_calls) {
  Json json = {{"rank", report.rank},     {"host", report.host},
               {"pid", report.pid},       {"presence", static_cast<int>(report.presence)},
               {"detail", report.detail}, {"site", site_to_json(report.site)},
               {"quiet_s", report.quiet}, {"limit_s", report.limit}};
  if (report.waits) json["waits"] = *report.waits;
  json["communicators"] = Json::array();
  for (const CommHistory& history : report.histories)
    json["communicators"].push_back(history_to_json(history, most_calls));
  json["stacks"] = Json::array();
  for (const ThreadStack& stack : report.stacks)
    json["stacks"].push_back({{"thread", stack.thread}, {"name", stack.name}, {"frames", stack.frames}});
  return json;
}

RankReport report_from_json(const Json& json) {
  RankReport report;
  report.rank = json.at("rank");
  report.host = json.at("host");
  report.pid = json.at("pid");
  report.presence = static_cast<Presence>(json.at("presence").get<int>());
  report.detail = json.at("detail");
  report.site = site_from_json(json.at("site"));
  report.quiet = json.at("quiet_s");
  report.limit = json.at("limit_s");
  if (json.contains("waits")) report.waits = json["waits"].get<bool>();
  for (const Json& history : json.at("communicators")) report.histories.push_back(history_from_json(history));
  for (const Json& stack : json.at("stacks")) {
    report.stacks.push_back({stack.at("thread"), stack.at("name"), stack.at("frames")});
  }
  return report;
}

}  // namespace trireme::watch

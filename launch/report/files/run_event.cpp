#include "launch/report/files/run_event.h"

#include <nlohmann/json.hpp>

namespace trireme::launch {

std::string_view to_string(EventKind kind) {
  constexpr std::string_view kNames[] = {"start",   "resume", "checkpoint", "evaluation", "straggler",
                                         "warning", "skip",   "sample",     "stop",       "end"};
  return kNames[static_cast<size_t>(kind)];
}

bool is_of_attempt(std::string_view kind) {
  return kind != "checkpoint" && kind != "evaluation" && kind != "skip" && kind != "sample";
}

std::string to_json_line(const RunEvent& event) {
  nlohmann::ordered_json json = {
      {"time", event.time}, {"step", event.step}, {"kind", to_string(event.kind)}, {"text", event.text}};
  if (event.facts) {
    json["version"] = event.facts->version;
    json["ranks"] = event.facts->ranks;
    json["hosts"] = event.facts->hosts;
    json["layout"] = event.facts->layout;
    json["predicted_bytes"] = event.facts->predicted_bytes;
    json["parameters"] = event.facts->parameters;
    json["flops_per_token"] = event.facts->flops_per_token;
  }
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace trireme::launch

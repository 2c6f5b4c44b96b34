// What happens to a run besides its steps: a line of events.jsonl.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trireme::launch {

/// What a start or resume knows about itself.
struct StartFacts {
  std::string version;  ///< build_line()
  int ranks = 1;
  int hosts = 1;
  std::string layout;           ///< layout_line()
  int64_t predicted_bytes = 0;  ///< of a rank, by estimate_memory()
  int64_t parameters = 0;
  double flops_per_token = 0;  ///< of training
};

enum class EventKind : uint8_t {
  start,
  resume,
  checkpoint,
  evaluation,
  straggler,
  warning,
  skip,
  sample,
  stop,
  end
};
std::string_view to_string(EventKind kind);

/// True of what belongs to an attempt, whatever becomes of its steps: start, resume, straggler, warning, stop
/// and end. What belongs to a step (checkpoint, evaluation, skip, sample) is taken back with it where a run
/// resumes from an earlier one.
bool is_of_attempt(std::string_view kind);

struct RunEvent {
  double time = 0;   ///< seconds since 1970
  int64_t step = 0;  ///< steps done
  EventKind kind = EventKind::warning;
  std::string text = {};
  std::optional<StartFacts> facts = std::nullopt;  ///< of start and resume
};

/// One object without line end: time, step, kind, text and, where it has them, version, ranks, hosts, layout,
/// predicted_bytes, parameters and flops_per_token. Bytes of `text` that are no UTF-8 become U+FFFD.
std::string to_json_line(const RunEvent& event);

}  // namespace trireme::launch

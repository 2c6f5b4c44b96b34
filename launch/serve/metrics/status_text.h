// The line of status of a server.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace trireme::launch {

/// What happened between two lines, and how it stands at the end.
struct StatusInterval {
  double seconds = 0;
  int64_t running = 0, waiting = 0;
  double cache_share = 0;                        ///< of the blocks that are in use
  int64_t read_tokens = 0;                       ///< of prompts that were computed
  int64_t prompt_tokens = 0, reused_tokens = 0;  ///< of prompts that began
  int64_t generated_tokens = 0;
  int64_t drafted_tokens = 0, accepted_tokens = 0;
  int64_t exit_tokens = 0, exit_layers = 0;  ///< that could leave, and all that they went through
  int64_t preemptions = 0, refused = 0;
  std::optional<double> joules;
};

/// "serve: 12 running, 3 waiting | cache 41 % | prompts 512 tokens/s (38 % reused), texts 210 tokens/s |
/// drafts 71 % accepted | 2 preemptions | 0.8 J/token (processor)"; what there was none of is left out.
std::string status_text(const StatusInterval& interval);

}  // namespace trireme::launch

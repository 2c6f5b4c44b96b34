#include "launch/serve/metrics/status_text.h"

#include <fmt/format.h>

#include "launch/report/number_text.h"

namespace trireme::launch {

namespace {

double percent_of(int64_t part, int64_t whole) {
  return 100 * static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

std::string status_text(const StatusInterval& i) {
  const auto rate = [&](int64_t tokens) {
    return i.seconds > 0 ? static_cast<double>(tokens) / i.seconds : 0.0;
  };
  std::string line = fmt::format("serve: {} running, {} waiting | cache {:.0f} % | prompts {:.0f} tokens/s",
                                 i.running, i.waiting, 100 * i.cache_share, rate(i.read_tokens));
  if (i.reused_tokens > 0)
    line += fmt::format(" ({:.0f} % reused)", percent_of(i.reused_tokens, i.prompt_tokens));
  line += fmt::format(", texts {:.0f} tokens/s", rate(i.generated_tokens));
  if (i.drafted_tokens > 0)
    line += fmt::format(" | drafts {:.0f} % accepted", percent_of(i.accepted_tokens, i.drafted_tokens));
  if (i.exit_tokens > 0)
    line += fmt::format(" | {:.1f} layers a token",
                        static_cast<double>(i.exit_layers) / static_cast<double>(i.exit_tokens));
  if (i.preemptions > 0) line += " | " + counted(i.preemptions, "preemption");
  if (i.refused > 0) line += fmt::format(" | {} refused", i.refused);
  if (i.joules && *i.joules > 0 && i.generated_tokens > 0) {
    const double joules = *i.joules / static_cast<double>(i.generated_tokens);
    line += joules < 10 ? fmt::format(" | {:.2g} J/token (processor)", joules)
                        : fmt::format(" | {:.0f} J/token (processor)", joules);
  }
  return line;
}

}  // namespace trireme::launch

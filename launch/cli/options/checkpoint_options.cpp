// Options of checkpoints, and of what a run goes on from.
#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"

namespace trireme {

namespace {

using namespace option_values;

std::string needs_checkpoints(const RunConfig& config) {
  return config.checkpoint.is_on() ? "" : "--checkpoint.keep is 0: nothing is saved on the way";
}

}  // namespace

std::vector<Option> checkpoint_options() {
  const std::string section = "checkpoint";
  return {
      {section, "minutes", "",
       real(
           [](auto& c) -> auto& { return c.checkpoint.minutes; }, 0, 1e6),
       "save so many minutes after the last one; 0: not by the clock", "", needs_checkpoints},
      {section, "every", "",
       whole(
           [](auto& c) -> auto& { return c.checkpoint.every; }, 0),
       "save every so many steps; 0: not by steps", "", needs_checkpoints},
      {section, "keep", "",
       whole(
           [](auto& c) -> auto& { return c.checkpoint.keep; }, 0, 1 << 20),
       "newest ones that stay; 0: none is saved, also not at the end or by signals", ""},
      {section, "keep-every", "",
       whole(
           [](auto& c) -> auto& { return c.checkpoint.keep_every; }, 0),
       "those of multiples of so many steps stay for ever; 0: none do", "", needs_checkpoints},
      {section, "best", "", on_off([](auto& c) -> auto& { return c.checkpoint.best; }),
       "save where the validation loss is the least so far, and keep that one", "",
       [](const RunConfig& c) -> std::string {
         if (!c.checkpoint.is_on()) return needs_checkpoints(c);
         if (c.data.valid_tokens.empty() && c.data.valid_fraction == 0)
           return "there is no validation data: give --data.valid-fraction or --data.valid-tokens";
         return "";
       }},
      {section, "async", "", on_off([](auto& c) -> auto& { return c.checkpoint.async; }),
       "training goes on while files are written; off: it waits", "", needs_checkpoints},
      {section, "failure", "",
       named<SaveFailurePolicy>([](auto& c) -> auto& { return c.checkpoint.failure; }),
       "when one cannot be saved: go on and try again at the next, or end the run", "", needs_checkpoints},
      {section, "dir", "",
       text(
           [](auto& c) -> auto& { return c.checkpoint.dir; }, "DIR"),
       "where they lie, of this run alone", "RUN/checkpoints", needs_checkpoints},
  };
}

}  // namespace trireme

// Options of checkpoints, and of what a run resumes from.
#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"

namespace trireme::launch {

namespace {

using namespace option_values;

std::string needs_checkpoints(const RunConfig& config) {
  return config.checkpoint.is_on() ? "" : "--checkpoint.keep is 0: nothing is saved on the way";
}

/// Saves by the clock begin when none is in flight, and the best and the last one wait.
std::string needs_overlap(const RunConfig& config) {
  if (!config.checkpoint.is_on()) return needs_checkpoints(config);
  if (!config.checkpoint.async) return "--checkpoint.async is off: no save is in flight when another begins";
  return config.checkpoint.every > 0 ? "" : "--checkpoint.every is 0: none is due by steps";
}

}  // namespace

std::vector<Option> checkpoint_options() {
  const std::string section = "checkpoint";
  return {
      {section, "minutes", "",
       real(
           [](auto& c) -> auto& { return c.checkpoint.minutes; }, 0, 1e6),
       "save a checkpoint every X minutes; 0: not by time", "", needs_checkpoints},
      {section, "every", "",
       whole(
           [](auto& c) -> auto& { return c.checkpoint.every; }, 0),
       "save a checkpoint every N steps; 0: not by steps", "", needs_checkpoints},
      {section, "keep", "",
       whole(
           [](auto& c) -> auto& { return c.checkpoint.keep; }, 0, 1 << 20),
       "keep the N newest checkpoints; 0: save none, not even at the end or on a signal", ""},
      {section, "keep-every", "",
       whole(
           [](auto& c) -> auto& { return c.checkpoint.keep_every; }, 0),
       "keep checkpoints of steps that are multiples of N for good; 0: none", "", needs_checkpoints},
      {section, "best", "", on_off([](auto& c) -> auto& { return c.checkpoint.best; }),
       "save a checkpoint whenever the validation loss is the lowest so far, and keep the best", "",
       [](const RunConfig& c) -> std::string {
         if (!c.checkpoint.is_on()) return needs_checkpoints(c);
         if (c.data.valid_tokens.empty() && c.data.valid_fraction == 0)
           return "there is no validation data: give --data.valid-fraction or --data.valid-tokens";
         return "";
       }},
      {section, "async", "", on_off([](auto& c) -> auto& { return c.checkpoint.async; }),
       "copy and write checkpoints in the background while training continues; off: wait for each write", "",
       needs_checkpoints},
      {section, "overlap", "", named<SaveOverlap>([](auto& c) -> auto& { return c.checkpoint.overlap; }),
       "when a save by steps is due while another is still being written: wait for that one, or skip this "
       "one",
       "", needs_overlap},
      {section, "failure", "",
       named<SaveFailurePolicy>([](auto& c) -> auto& { return c.checkpoint.failure; }),
       "when a checkpoint cannot be saved: warn and retry at the next one, or stop the run", "",
       needs_checkpoints},
      {section, "dir", "",
       text(
           [](auto& c) -> auto& { return c.checkpoint.dir; }, "DIR"),
       "directory of this run's checkpoints; not to be shared between runs", "RUN/checkpoints",
       needs_checkpoints},
  };
}

}  // namespace trireme::launch

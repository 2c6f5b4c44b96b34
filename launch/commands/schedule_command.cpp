#include "launch/commands/schedule_command.h"

#include "launch/commands/schedule_drawing.h"
#include "parallel/pipeline/check_schedule.h"
#include "parallel/pipeline/schedule_file.h"
#include "runtime/base/error.h"
#include "runtime/io/files/atomic_file.h"

namespace trireme::launch {

namespace {

constexpr size_t kShownErrors = 20;

Schedule proved_schedule(const ScheduleOptions& o) {
  const Schedule schedule = o.file.empty()
                                ? make_schedule(o.kind, o.num_stages, o.num_micro_batches, o.num_chunks)
                                : read_schedule(o.file);
  const auto errors = check_schedule(schedule);
  if (errors.empty()) return schedule;
  TRIREME_CHECK(!o.file.empty(), "{}", errors.front());
  std::string text;
  for (size_t i = 0; i < errors.size() && i < kShownErrors; ++i)
    text += fmt::format("\n  {}. {}", i + 1, errors[i]);
  if (errors.size() > kShownErrors) text += fmt::format("\n  and {} more", errors.size() - kShownErrors);
  throw_bad_input("{} is not a valid schedule; {} error{}:{}", o.file, errors.size(),
                  errors.size() == 1 ? "" : "s", text);
}

void print_list(const Schedule& schedule, std::FILE* out) {
  for (size_t stage = 0; stage < schedule.actions_of_stage.size(); ++stage) {
    fmt::print(out, "\nstage {}\n", stage);
    const auto& actions = schedule.actions_of_stage[stage];
    for (size_t i = 0; i < actions.size(); ++i) fmt::print(out, "  {:>5}  {}\n", i, to_string(actions[i]));
  }
}

void print_numbers(const Schedule& schedule, const Timeline& timeline, std::FILE* out) {
  fmt::print(out, "\n{:>7}  {:>8}  {:>16}\n", "stage", "bubble", "peak activations");
  for (size_t stage = 0; stage < timeline.bubble_of_stage.size(); ++stage) {
    fmt::print(out, "{:>7}  {:>6.1f} %  {:>16}\n", stage, 100 * timeline.bubble_of_stage[stage],
               timeline.peak_activations_of_stage[stage]);
  }
  if (schedule.num_chunks > 1)
    fmt::print(out, "activations are counted per model chunk, 1/{} of a stage\n", schedule.num_chunks);
  fmt::print(out, "\nbubble   {:.1f} % of {:g} time units\n", 100 * timeline.bubble, timeline.makespan);
}

}  // namespace

void run_schedule_command(const ScheduleOptions& options, std::FILE* out) {
  const Schedule schedule = proved_schedule(options);
  const Timeline timeline = simulate(schedule, options.costs);
  fmt::print(out, "{}\n\n{}", title_of(schedule), timeline_text(schedule, timeline));
  if (options.list) print_list(schedule, out);
  print_numbers(schedule, timeline, out);
  fmt::print(out,
             "checked  complete, in order, every receive matches a send, no deadlock with non-blocking "
             "sends\n"
             "         (with blocking sends it {})\n",
             holds_with_rendezvous(schedule) ? "would not deadlock either" : "would deadlock");
  if (!options.write.empty()) {
    write_schedule(schedule, options.write);
    fmt::print(out, "written  {}\n", options.write);
  }
  if (!options.svg.empty()) {
    write_file_atomically(options.svg, timeline_svg(schedule, timeline));
    fmt::print(out, "drawing  {}\n", options.svg);
  }
}

}  // namespace trireme::launch

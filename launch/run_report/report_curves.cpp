// RunCurves of a report: loss, learning rate, gradient norm, throughput, with what happened at the time.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "launch/run_report/report_page.h"
#include "launch/run_report/report_parts.h"
#include "launch/run_report/thin.h"

namespace trireme::launch {

namespace {

/// Points of all runs of a chart, which share the screen.
constexpr size_t kMostPointsOfChart = 4000;
constexpr size_t kMostPointsOfRun = 1000;
constexpr size_t kMostMarks = 100;

/// A run with the axis of its steps on the page.
struct Drawn {
  const RunData* run;
  int color;
  size_t per_point;
  int axis;
};

Series thinned_series(const std::string& name, int axis, const std::vector<double>& values, size_t per_point,
                      int color) {
  Band band = thin(values, per_point);
  return {name,
          axis,
          std::move(band.mean),
          std::move(band.low),
          std::move(band.high),
          std::move(band.count),
          Style::line,
          color};
}

/// The records that have a value, on an axis of their own.
Series sparse_series(Page& page, const std::string& name, const RunData& run, const std::string& key,
                     int color) {
  Positions at;
  std::vector<double> values;
  const std::vector<double>& column = run.steps.values.at(key);
  for (size_t i = 0; i < column.size(); ++i) {
    if (!std::isfinite(column[i])) continue;
    at.step.push_back(run.steps.at.step[i]);
    at.tokens.push_back(run.steps.at.tokens[i]);
    at.hours.push_back(run.steps.at.hours[i]);
    values.push_back(column[i]);
  }
  const size_t per_point = values_per_point(values.size(), kMostPointsOfRun);
  Series series =
      thinned_series(name, page.add_axis(axis_of_positions(at, per_point)), values, per_point, color);
  series.style = Style::dashed;
  return series;
}

bool has_values(const RunData& run, const std::string& key) { return !finite_values(run.steps, key).empty(); }

/// Where a step is on the other axes: at the first record that is no earlier.
ChartAxis places_of(const RunData& run, const std::vector<double>& steps) {
  ChartAxis axis = {{"step", steps}, {"tokens", {}}, {"hours", {}}};
  const Positions& at = run.steps.at;
  for (const double step : steps) {
    const size_t found = std::min(
        static_cast<size_t>(std::ranges::lower_bound(at.step, step) - at.step.begin()), at.size() - 1);
    axis[1].values.push_back(at.tokens[found]);
    axis[2].values.push_back(at.hours[found]);
  }
  return axis;
}

/// Events of some kinds, in the order of their steps; of too many none, as they would hide the curve.
std::vector<Marks> event_marks(Page& page, const Drawn& drawn, bool has_others) {
  struct Kind {
    const char* kind;
    const char* name;
    int color;
    size_t most;
  };
  constexpr Kind kKinds[] = {{"resume", "resumed", 7, kMostMarks},
                             {"straggler", "straggler", 4, kMostMarks},
                             {"warning", "warning", 3, kMostMarks},
                             {"stop", "stopped", 6, kMostMarks},
                             {"checkpoint", "checkpoint", 6, 20}};
  std::vector<Marks> marks;
  for (const Kind& kind : kKinds) {
    std::vector<const HappeningOfRun*> events;
    for (const HappeningOfRun& event : drawn.run->events)
      if (event.kind == kind.kind) events.push_back(&event);
    if (events.empty() || events.size() > kind.most || drawn.run->steps.at.size() == 0) continue;
    if (has_others && kind.most != kMostMarks) continue;
    std::ranges::stable_sort(events, {}, &HappeningOfRun::step);
    std::vector<double> steps;
    Marks of_kind{
        has_others ? fmt::format("{}: {}", drawn.run->name, kind.name) : kind.name, 0, {}, kind.color};
    for (const HappeningOfRun* event : events) {
      steps.push_back(static_cast<double>(event->step));
      of_kind.texts.push_back(fmt::format("{}: {}", kind.name, event->text.substr(0, 160)));
    }
    of_kind.axis = page.add_axis(places_of(*drawn.run, steps));
    marks.push_back(std::move(of_kind));
  }
  return marks;
}

class RunCurves {
 public:
  RunCurves(Page& page, const std::vector<RunData>& runs) : page_(page), has_several_(runs.size() > 1) {
    const size_t most = std::clamp(kMostPointsOfChart / runs.size(), size_t{150}, kMostPointsOfRun);
    int color = 0;
    for (const RunData& run : runs) {
      const int of_run = color++;
      if (run.steps.at.size() == 0) continue;
      const size_t per_point = values_per_point(run.steps.at.size(), most);
      drawn_.push_back({&run, of_run, per_point, page.add_axis(axis_of_positions(run.steps.at, per_point))});
    }
  }
  const std::vector<Drawn>& drawn() const { return drawn_; }

  /// The column of every run that has it; false: none has.
  bool add_to(LineChart& chart, const std::string& key, const std::string& name) {
    bool any = false;
    for (const Drawn& drawn : drawn_) {
      if (!has_values(*drawn.run, key)) continue;
      chart.series.push_back(
          thinned_series(label(drawn, name), drawn.axis, drawn.run->steps.values.at(key), drawn.per_point,
                         has_several_ ? drawn.color : static_cast<int>(chart.series.size())));
      any = true;
    }
    return any;
  }
  void draw(LineChart chart, const std::string& key, const std::string& name) {
    if (!add_to(chart, key, name)) return;
    chart.note = note(chart.note);
    page_.lines(chart);
  }
  std::string label(const Drawn& drawn, const std::string& name) const {
    if (!has_several_) return name;
    return name.empty() ? drawn.run->name : fmt::format("{} {}", drawn.run->name, name);
  }
  std::string note(const std::string& before) const {
    size_t least = SIZE_MAX, most = 1;
    for (const Drawn& drawn : drawn_) {
      least = std::min(least, drawn.per_point);
      most = std::max(most, drawn.per_point);
    }
    if (most == 1) return before;
    const std::string text =
        least == most
            ? thinned_note(most, "steps")
            : fmt::format("Each point stands for up to {} steps: their mean, and their range as a band.",
                          most);
    return before.empty() ? text : before + " " + text;
  }

 private:
  Page& page_;
  std::vector<Drawn> drawn_;
  bool has_several_;
};

void add_loss(Page& page, RunCurves& curves, bool has_several) {
  LineChart chart{
      .title = "Loss", .series = {}, .is_smoothed = true, .has_log_switch = true, .is_wide = true};
  curves.add_to(chart, "loss", has_several ? "" : "training");
  if (!has_several) curves.add_to(chart, "objective", "training, all that is minimised");
  bool is_validated = false;
  for (const Drawn& drawn : curves.drawn()) {
    if (!has_values(*drawn.run, "val_loss")) continue;
    chart.series.push_back(sparse_series(page, curves.label(drawn, "validation"), *drawn.run, "val_loss",
                                         has_several ? drawn.color : 1));
    is_validated = true;
  }
  if (chart.series.empty()) return page.note("There is no finite loss to draw.");
  if (!is_validated)
    chart.note =
        "No validation loss: the runs were not evaluated (--data.valid-fraction, --train.eval-every).";
  for (const Drawn& drawn : curves.drawn()) {
    for (Marks& marks : event_marks(page, drawn, has_several)) chart.marks.push_back(std::move(marks));
  }
  chart.note = curves.note(chart.note);
  page.lines(chart);
}

/// Steps that were skipped, at the gradient norm that they do not have.
void add_gradient_norm(Page& page, RunCurves& curves) {
  LineChart chart{
      .title = "Gradient norm, before clipping", .series = {}, .is_smoothed = true, .has_log_switch = true};
  if (!curves.add_to(chart, "grad_norm", "gradient norm")) return;
  for (const Drawn& drawn : curves.drawn()) {
    const auto found = drawn.run->steps.values.find("skipped");
    if (found == drawn.run->steps.values.end()) continue;
    std::vector<double> steps;
    for (size_t i = 0; i < found->second.size(); ++i)
      if (found->second[i] == 1) steps.push_back(drawn.run->steps.at.step[i]);
    if (steps.empty()) continue;
    const size_t per_mark = values_per_point(steps.size(), 2 * kMostMarks);
    if (per_mark > 1)
      chart.note += fmt::format("Of {} skipped steps each {}th is marked. ", steps.size(), per_mark);
    steps = ends_of_points(steps, per_mark);
    std::vector<std::string> texts;
    for (const double step : steps) texts.push_back(fmt::format("step {:.0f} was skipped", step));
    chart.marks.push_back(
        {curves.label(drawn, "skipped steps"), page.add_axis(places_of(*drawn.run, steps)), texts, 1});
  }
  chart.note = curves.note(chart.note);
  page.lines(chart);
}

}  // namespace

void add_curves(Page& page, const std::vector<RunData>& runs) {
  page.heading("Training");
  RunCurves curves(page, runs);
  if (curves.drawn().empty()) return page.note("There are no steps yet: metrics.jsonl has no record of one.");
  const bool has_several = runs.size() > 1;
  const auto name = [&](const char* text) { return has_several ? "" : text; };
  add_loss(page, curves, has_several);
  curves.draw({.title = "Learning rate", .series = {}}, "lr", name("learning rate"));
  add_gradient_norm(page, curves);
  curves.draw({.title = "Throughput, tokens per second",
               .unit = Unit::count,
               .series = {},
               .is_smoothed = true,
               .from_zero = true},
              "tok_s", name("all ranks"));
  curves.draw({.title = "MFU: model FLOPs of what the devices can do",
               .unit = Unit::percent,
               .series = {},
               .is_smoothed = true,
               .from_zero = true},
              "mfu", name("MFU"));
  const bool is_scaled = std::ranges::any_of(runs, [](const RunData& run) {
    return std::ranges::any_of(finite_values(run.steps, "loss_scale"),
                               [](double scale) { return scale != 1; });
  });
  if (is_scaled)
    curves.draw({.title = "Loss scale", .unit = Unit::count, .series = {}, .is_log_y = true}, "loss_scale",
                name("loss scale"));
}

}  // namespace trireme::launch

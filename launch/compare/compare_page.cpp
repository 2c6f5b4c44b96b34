#include "launch/compare/compare_page.h"

#include <algorithm>

#include <fmt/format.h>

#include "launch/compare/compare_text.h"
#include "launch/page/page.h"

namespace trireme::launch {

namespace {

/// Of a long run every so many steps: the curves of a page are no archive.
constexpr size_t kMostPoints = 4000;

/// Charts of both sides: the runs of a side have one colour.
class Curves {
 public:
  Curves(Page& page, const Comparison& comparison) : page_(page) {
    add(comparison.a, "A", 0);
    add(comparison.b, "B", 1);
  }

  using Value = double (*)(const ComparedStep& step);
  void draw(const std::string& title, Unit unit, Value value) {
    LineChart chart{.title = title, .unit = unit, .series = {}};
    chart.is_smoothed = true;
    for (const Curve& curve : curves_) {
      Series series{.name = curve.name, .axis = curve.axis, .y = {}};
      for (const ComparedStep& step : curve.steps) series.y.push_back(value(step));
      series.color = curve.color;
      chart.series.push_back(std::move(series));
    }
    page_.lines(chart);
  }

 private:
  struct Curve {
    std::string name;
    int axis, color;
    std::vector<ComparedStep> steps;
  };
  void add(const std::vector<ComparedRun>& side, const char* name, int color) {
    for (const ComparedRun& run : side) {
      Curve curve{fmt::format("{}: {}", name, run.path), 0, color, {}};
      std::vector<double> x;
      const size_t stride = (run.steps.size() + kMostPoints - 1) / kMostPoints;
      for (size_t i = 0; i < run.steps.size(); i += stride) {
        curve.steps.push_back(run.steps[i]);
        x.push_back(static_cast<double>(run.steps[i].step));
      }
      curve.axis = page_.add_axis("step", std::move(x));
      curves_.push_back(std::move(curve));
    }
  }

  Page& page_;
  std::vector<Curve> curves_;
};

void add_verdicts(Page& page, const Comparison& comparison) {
  Table table{.columns = {{"quantity"}, {"verdict"}, {"by"}}, .rows = {}};
  for (const auto& [name, verdict] :
       {std::pair("speed", &comparison.speed), std::pair("loss", &comparison.loss),
        std::pair("validation loss", &comparison.val_loss)}) {
    table.rows.push_back({name, verdict->text, verdict->method});
  }
  page.table(table);
}

void add_options(Page& page, const Comparison& comparison) {
  page.heading("Configuration");
  page.paragraph(fmt::format("{} of {} options differ.", comparison.options.size(), comparison.num_options));
  if (comparison.options.empty()) return;
  Table table{.columns = {{"option"}, {"A"}, {"B"}}, .rows = {}};
  for (const OptionDifference& difference : comparison.options)
    table.rows.push_back({difference.key, option_text(difference.a), option_text(difference.b)});
  page.table(table);
}

void add_runs(Page& page, const Comparison& comparison) {
  page.heading("Runs");
  Table table{.columns = {{"side"}, {"run"}, {"last step", true}, {"version"}}, .rows = {}};
  for (const auto& [name, side] : {std::pair("A", &comparison.a), std::pair("B", &comparison.b)}) {
    for (const ComparedRun& run : *side) {
      table.rows.push_back({name, run.path, fmt::to_string(run.steps.back().step),
                            run.version.empty() ? "unknown" : run.version});
    }
  }
  page.table(table);
}

}  // namespace

std::string comparison_page(const Comparison& comparison) {
  Page page("Comparison of runs",
            fmt::format("A: {}; B: {}", side_name(comparison.a), side_name(comparison.b)));
  page.heading("Verdicts");
  add_verdicts(page, comparison);
  Curves curves(page, comparison);
  curves.draw("Loss", Unit::plain, [](const ComparedStep& step) { return step.loss; });
  curves.draw("Time of a step", Unit::ms, [](const ComparedStep& step) { return step.step_ms; });
  add_options(page, comparison);
  add_runs(page, comparison);
  return page.html();
}

}  // namespace trireme::launch

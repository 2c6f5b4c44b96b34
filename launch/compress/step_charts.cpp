#include "launch/compress/step_charts.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "launch/report/number_text.h"

namespace trireme::launch {

namespace {

/// "0-2, 5", at most some of it.
std::string runs_of(const std::vector<int64_t>& rising) {
  constexpr int kMostRuns = 12;
  std::string text;
  int runs = 0;
  for (size_t i = 0; i < rising.size();) {
    size_t end = i + 1;
    while (end < rising.size() && rising[end] == rising[end - 1] + 1) ++end;
    if (++runs > kMostRuns) return text + ", ...";
    text += text.empty() ? "" : ", ";
    text += end - i == 1 ? fmt::to_string(rising[i]) : fmt::format("{}-{}", rising[i], rising[end - 1]);
    i = end;
  }
  return text;
}

std::string percent(double part) { return fmt::format("{:.2f} %", 100 * part); }

/// The columns of a cut that there are: units that no layer loses have none.
struct CutColumns {
  bool heads = false, experts = false, neurons = false;
};

CutColumns columns_of(const CutOutcome& cut) {
  return {.heads = cut.cut.heads > 0 || cut.cut.kv_groups > 0,
          .experts = cut.cut.experts > 0,
          .neurons = cut.cut.neurons > 0 || cut.cut.shared_neurons > 0};
}

Table units_table(const StepRecord& step) {
  const CutOutcome& cut = *step.cut;
  const CutColumns has = columns_of(cut);
  Table table;
  table.is_long = true;
  table.columns = {{"layer", true}, {"importance", true}};
  const auto add = [&](bool is_there, const char* units, const char* part) {
    if (!is_there) return;
    table.columns.push_back({units, false});
    table.columns.push_back({part, true});
  };
  add(has.heads, "heads that stay", "of heads' importance went");
  add(has.experts, "experts that stay", "of experts' importance went");
  if (has.neurons) {
    table.columns.push_back({"neurons that stay", true});
    table.columns.push_back({"of neurons' importance went", true});
  }
  size_t next = 0;
  for (size_t layer = 0; layer < cut.layers.size(); ++layer) {
    std::vector<std::string> row = {fmt::to_string(layer), fmt::format("{:.4g}", cut.layers[layer])};
    const bool stays = next < cut.kept.size() && cut.kept[next].layer == static_cast<int64_t>(layer);
    if (!stays) {
      row.resize(table.columns.size());
      if (row.size() > 2)
        row[2] = "the layer went";
      else
        row[1] += " (went)";
      table.rows.push_back(std::move(row));
      continue;
    }
    const KeptLayer& kept = cut.kept[next];
    const LostImportance& lost = cut.lost[next++];
    if (has.heads) row.insert(row.end(), {runs_of(kept.heads), percent(lost.heads)});
    if (has.experts) row.insert(row.end(), {runs_of(kept.experts), percent(lost.experts)});
    if (has.neurons) {
      row.push_back(kept.neurons.empty() ? "" : grouped(std::ssize(kept.neurons.front())));
      row.push_back(percent(lost.neurons));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table sets_table(const ShareOutcome& shared) {
  Table table;
  table.is_long = true;
  table.columns = {{"layer", true},
                   {"weights of", false},
                   {"change of the stream", true},
                   {"cosine of outputs", true},
                   {"losses of what was tried", false}};
  for (size_t s = 0; s < shared.sets.size(); ++s) {
    const FoldedSet& set = shared.sets[s];
    std::string trials;
    for (const FoldTrial& trial : s < shared.trials.size() ? shared.trials[s] : std::vector<FoldTrial>())
      trials +=
          fmt::format("{}{}: {:.4f}", trials.empty() ? "" : ", ", values_text(trial.values), trial.loss);
    for (const int64_t layer : set.layers) {
      const auto of = [&](const std::vector<std::vector<double>>& rows) {
        const auto row = static_cast<size_t>(layer), column = static_cast<size_t>(set.values);
        const bool is_known = set.values >= 0 && row < rows.size() && column < rows[row].size();
        return is_known ? fmt::format("{:.4g}", rows[row][column]) : std::string();
      };
      table.rows.push_back({fmt::to_string(layer), values_text(set.values), of(shared.likeness.change),
                            of(shared.likeness.cosine), layer == set.layers.front() ? trials : ""});
    }
  }
  return table;
}

void sets_on_page(Page& page, const WorkState& state) {
  bool has_heading = false;
  for (const StepRecord& step : state.steps) {
    if (!step.shared) continue;
    if (!has_heading) page.heading("Layers that share weights");
    has_heading = true;
    page.subheading(fmt::format("{} (step {})", step.figures.what, step.figures.name));
    page.table(sets_table(*step.shared));
  }
  if (has_heading)
    page.note(
        "Of the stream behind a layer, the part by which it changes with those weights in the layer's place, "
        "as "
        "squares over the calibration samples; the cosine of what they add and what the layer's own added. "
        "All "
        "pairs are in compression.json.");
}

}  // namespace

void units_on_page(Page& page, const WorkState& state) {
  sets_on_page(page, state);
  bool has_heading = false;
  for (const StepRecord& step : state.steps) {
    if (!step.cut) continue;
    if (!has_heading) page.heading("Units");
    has_heading = true;
    page.subheading(fmt::format("{} (step {})", step.figures.what, step.figures.name));
    page.table(units_table(step));
  }
  if (!has_heading) return;
  page.note(
      "Of layers, 1 - mean cosine between what goes in and what comes out; of heads and neurons, their "
      "squared "
      "contribution to the output of their part; of experts, tokens, routing weight and the norm of their "
      "outputs. Which units stay is in compression.json.");
}

void trainings_on_page(Page& page, const WorkState& state) {
  bool has_heading = false;
  for (const StepRecord& step : state.steps) {
    if (step.training.empty()) continue;
    if (!has_heading) page.heading("Training");
    has_heading = true;
    std::vector<double> steps, losses, valid;
    for (const TrainedStep& at : step.training) {
      steps.push_back(static_cast<double>(at.step));
      losses.push_back(at.loss);
      valid.push_back(at.valid_loss);
    }
    const int axis = page.add_axis("step", steps);
    LineChart chart{.title = fmt::format("loss, nats a token: {}", step.figures.name), .series = {}};
    chart.series.push_back({.name = "training", .axis = axis, .y = losses});
    if (std::ranges::any_of(valid, [](double v) { return std::isfinite(v); }))
      chart.series.push_back({.name = "validation", .axis = axis, .y = valid, .style = Style::points});
    chart.is_wide = chart.is_smoothed = true;
    page.lines(chart);
  }
}

}  // namespace trireme::launch

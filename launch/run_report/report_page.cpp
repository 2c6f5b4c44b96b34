#include "launch/run_report/report_page.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/report/number_text.h"
#include "launch/run_report/report_parts.h"

namespace trireme::launch {

namespace {

std::string shown_loss(double value) { return fmt::format("{:.4f}", value); }
std::string shown_speed(double value) { return short_count(value) + " tok/s"; }
std::string shown_share(double value) { return fmt::format("{:.1f} %", 100 * value); }

std::string total_steps(const RunData& run) {
  const auto found = run.config.find("train.steps");
  return found == run.config.end() ? "" : found->second;
}

std::string steps_done(const RunData& run) {
  return run.steps.at.step.empty() ? "0" : grouped(static_cast<int64_t>(run.steps.at.step.back()));
}

/// Of the last event that says so.
std::string state_of_run(const RunData& run) {
  for (auto event = run.events.rbegin(); event != run.events.rend(); ++event) {
    if (event->kind == "end") return "finished";
    if (event->kind == "stop") return "stopped";
  }
  const bool is_done =
      !run.steps.at.step.empty() && total_steps(run) == fmt::format("{:g}", run.steps.at.step.back());
  if (is_done) return "all steps done";
  return run.has_events ? "no end recorded: still running, or killed" : "";
}

double best_validation_step(const RunData& run) {
  const auto found = run.steps.values.find("val_loss");
  if (found == run.steps.values.end()) return kNoValue;
  const double best = least_value(run.steps, "val_loss");
  for (size_t i = 0; i < found->second.size(); ++i)
    if (found->second[i] == best) return run.steps.at.step[i];
  return kNoValue;
}

int64_t num_skipped(const RunData& run) {
  return std::ranges::count(finite_values(run.steps, "skipped"), 1.0);
}

double peak_memory(const RunData& run) {
  const auto values = finite_values(run.steps, "mem_bytes");
  return values.empty() ? kNoValue : *std::ranges::max_element(values);
}

int64_t count_events(const RunData& run, const std::string& kind) {
  return std::ranges::count(run.events, kind, &HappeningOfRun::kind);
}

std::string unsure_note(const RunData& run) {
  const auto sure = finite_values(run.steps, "mfu_sure");
  const auto unsure = std::ranges::count(sure, 0.0);
  return unsure == 0 ? ""
                     : fmt::format("unsure in {:.0f} % of steps",
                                   100.0 * static_cast<double>(unsure) / static_cast<double>(sure.size()));
}

void add_facts(Page& page, const RunData& run) {
  const std::string total = total_steps(run);
  const std::string state = state_of_run(run);
  std::vector<Figure> facts = {
      {"Steps", steps_done(run),
       fmt::format("{}{}{}", total.empty() ? "" : "of " + grouped(std::atoll(total.c_str())),
                   total.empty() || state.empty() ? "" : "; ", state)}};
  const auto add = [&](const char* label, double value, const std::function<std::string(double)>& text,
                       std::string note = "") {
    if (std::isfinite(value)) facts.push_back({label, text(value), std::move(note)});
  };
  add("Last loss", last_value(run.steps, "loss"), shown_loss);
  const double best_at = best_validation_step(run);
  add("Best validation loss", least_value(run.steps, "val_loss"), shown_loss,
      std::isfinite(best_at) ? "at step " + grouped(static_cast<int64_t>(best_at)) : "");
  if (!run.steps.at.tokens.empty() && run.steps.at.tokens.back() > 0)
    add("Tokens", run.steps.at.tokens.back(), short_count);
  add("Throughput, median", median_value(run.steps, "tok_s"), shown_speed);
  add("MFU, median", median_value(run.steps, "mfu"), shown_share, unsure_note(run));
  add("Step time, median", median_value(run.steps, "step_ms"),
      [](double ms) { return fmt::format("{:.4g} ms", ms); });
  add("Peak memory of a rank", peak_memory(run), short_bytes,
      run.start.predicted_bytes > 0
          ? "predicted " + short_bytes(static_cast<double>(run.start.predicted_bytes))
          : "");
  if (run.start.parameters > 0)
    facts.push_back({"Parameters", short_count(static_cast<double>(run.start.parameters))});
  if (run.start.ranks > 0)
    facts.push_back({"Ranks", fmt::to_string(run.start.ranks),
                     run.start.hosts > 1 ? fmt::format("on {} hosts", run.start.hosts) : ""});
  if (!run.steps.at.hours.empty() && run.steps.at.hours.back() > 0) {
    const int64_t resumes = count_events(run, "resume");
    add("Time", run.steps.at.hours.back() * 3600, short_duration,
        resumes > 0 ? fmt::format("resumed {} time{}", resumes, resumes == 1 ? "" : "s") : "");
  }
  if (const int64_t skipped = num_skipped(run); skipped > 0)
    facts.push_back({"Skipped steps", grouped(skipped), "loss or gradient was not finite"});
  page.facts(facts);
  if (!run.start.layout.empty()) page.paragraph("Layout: " + run.start.layout);
}

void add_runs_table(Page& page, const std::vector<RunData>& runs) {
  Table table{{{"run", false, true},
               {"steps", true},
               {"loss", true},
               {"best validation", true},
               {"throughput", true},
               {"MFU", true},
               {"step", true},
               {"peak memory", true},
               {"ranks", true},
               {"state"}},
              {}};
  for (const RunData& run : runs) {
    table.rows.push_back(
        {run.name, steps_done(run), or_dash(last_value(run.steps, "loss"), shown_loss),
         or_dash(least_value(run.steps, "val_loss"), shown_loss),
         or_dash(median_value(run.steps, "tok_s"), shown_speed),
         or_dash(median_value(run.steps, "mfu"), shown_share),
         or_dash(median_value(run.steps, "step_ms"), [](double ms) { return fmt::format("{:.4g} ms", ms); }),
         or_dash(peak_memory(run), short_bytes), run.start.ranks > 0 ? fmt::to_string(run.start.ranks) : "–",
         state_of_run(run)});
  }
  page.table(table);
  page.note("Loss: of the last step. Throughput, MFU and step time: medians of all steps.");
}

std::string subtitle_of(const std::vector<RunData>& runs) {
  if (runs.size() > 1) return fmt::format("{} runs", runs.size());
  return runs.front().start.version.empty()
             ? runs.front().path
             : fmt::format("{} · {}", runs.front().path, runs.front().start.version);
}

}  // namespace

void add_summary(Page& page, const std::vector<RunData>& runs) {
  page.heading("Summary");
  runs.size() == 1 ? add_facts(page, runs.front()) : add_runs_table(page, runs);
  for (const RunData& run : runs) {
    for (const std::string& problem : run.problems)
      page.note(fmt::format("Note: {}{}", runs.size() > 1 ? run.name + ": " : "", problem));
  }
}

Page report_page(const std::vector<RunData>& runs, const ReportOptions& options) {
  std::vector<std::string> names;
  for (const RunData& run : runs) names.push_back(run.name);
  Page page(options.title.empty() ? fmt::format("{}", fmt::join(names, ", ")) : options.title,
            subtitle_of(runs));
  page.set_smoothing(options.smoothing);
  add_summary(page, runs);
  add_curves(page, runs);
  add_time_and_memory(page, runs);
  add_experts(page, runs);
  add_ranks(page, runs);
  add_timelines(page, runs);
  add_events(page, runs);
  add_samples(page, runs);
  add_configs(page, runs);
  return page;
}

}  // namespace trireme::launch

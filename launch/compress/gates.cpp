#include "launch/compress/gates.h"

#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "launch/report/number_text.h"
#include "runtime/io/json/json_file.h"

namespace trireme::launch {

namespace {

nlohmann::ordered_json finite_json(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json();
}

nlohmann::ordered_json json_of(const SampleMean& mean) {
  return {{"mean", finite_json(mean.mean)}, {"standard_error", finite_json(mean.error)}};
}

double figure_of(const nlohmann::json& json) {
  return json.is_number() ? json.get<double>() : std::numeric_limits<double>::quiet_NaN();
}

SampleMean sample_mean_of(const nlohmann::json& json) {
  return {figure_of(json_member(json, "mean", "figures")),
          figure_of(json_member(json, "standard_error", "figures"))};
}

}  // namespace

double StepFigures::perplexity() const { return std::exp(loss.mean); }
double StepFigures::perplexity_error() const { return perplexity() * loss.error; }

// A figure that is no number never passes.
std::optional<std::string> exceeded(const Gate& gate, const StepFigures& base, const StepFigures& step) {
  const double rise = step.perplexity() / base.perplexity() - 1;
  if (gate.perplexity && !(rise <= *gate.perplexity))
    return fmt::format(
        "--gate.perplexity +{:g}%: the perplexity is {:.4f}, {:+.2f}% beside the base's {:.4f}",
        100 * *gate.perplexity, step.perplexity(), 100 * rise, base.perplexity());
  if (gate.divergence && !(step.divergence.mean <= *gate.divergence))
    return fmt::format("--gate.kl {:g}: the mean KL divergence is {:.4g} nats a token", *gate.divergence,
                       step.divergence.mean);
  if (gate.same_top && !(step.same_top.mean >= *gate.same_top))
    return fmt::format("--gate.same-top {:g}%: {:.2f}% of the tokens have the base's likeliest token",
                       100 * *gate.same_top, 100 * step.same_top.mean);
  if (gate.size && !(step.size() <= *gate.size))
    return fmt::format("--gate.size {:.4g}: {} bytes are {:.4g} of the {} in fp32", *gate.size,
                       grouped(step.bytes), step.size(), grouped(step.fp32_bytes));
  return std::nullopt;
}

Gate with(const Gate& gate, const Gate& over) {
  Gate both = over;
  if (!both.perplexity) both.perplexity = gate.perplexity;
  if (!both.divergence) both.divergence = gate.divergence;
  if (!both.same_top) both.same_top = gate.same_top;
  if (!both.size) both.size = gate.size;
  return both;
}

nlohmann::ordered_json json_of(const StepFigures& f) {
  return {{"name", f.name},
          {"what", f.what},
          {"bytes", f.bytes},
          {"fp32_bytes", f.fp32_bytes},
          {"perplexity", finite_json(f.perplexity())},
          {"perplexity_standard_error", finite_json(f.perplexity_error())},
          {"nats_per_token", json_of(f.loss)},
          {"kl_divergence", json_of(f.divergence)},
          {"kl_divergence_percentile_99", finite_json(f.divergence_99)},
          {"same_top_token", json_of(f.same_top)},
          {"tokens_per_second", finite_json(f.tokens_per_second)},
          {"seconds", finite_json(f.seconds)},
          {"zeros", finite_json(f.zeros)}};
}

StepFigures figures_of(const nlohmann::json& json) {
  const std::string where = "figures";
  StepFigures f;
  f.name = json_string(json_member(json, "name", where), "name", where);
  f.what = json_string(json_member(json, "what", where), "what", where);
  f.bytes = json_index(json_member(json, "bytes", where), INT64_MAX, "bytes", where);
  f.fp32_bytes = json_index(json_member(json, "fp32_bytes", where), INT64_MAX, "fp32_bytes", where);
  f.loss = sample_mean_of(json_member(json, "nats_per_token", where));
  f.divergence = sample_mean_of(json_member(json, "kl_divergence", where));
  f.divergence_99 = figure_of(json_member(json, "kl_divergence_percentile_99", where));
  f.same_top = sample_mean_of(json_member(json, "same_top_token", where));
  f.tokens_per_second = figure_of(json_member(json, "tokens_per_second", where));
  f.seconds = figure_of(json_member(json, "seconds", where));
  f.zeros = figure_of(json_member(json, "zeros", where));
  return f;
}

std::string figures_header() {
  return fmt::format("{:<14} {:>10} {:>7} {:>18} {:>8} {:>18} {:>7} {:>15} {:>16}", "step", "size", "of fp32",
                     "perplexity", "change", "KL, nats", "99 %", "same top, %", "tokens/s");
}

std::string figures_line(const StepFigures& f, const StepFigures& base) {
  const double faster = f.tokens_per_second / base.tokens_per_second;
  return fmt::format("{:<14} {:>10} {:>7.3f} {:>18} {:>+7.2f}% {:>18} {:>7.2g} {:>15} {:>16}", f.name,
                     short_bytes(static_cast<double>(f.bytes)), f.size(),
                     fmt::format("{:.4f} +- {:.3f}", f.perplexity(), f.perplexity_error()),
                     100 * (f.perplexity() / base.perplexity() - 1),
                     fmt::format("{:.2g} +- {:.1g}", f.divergence.mean, f.divergence.error), f.divergence_99,
                     fmt::format("{:.2f} +- {:.2f}", 100 * f.same_top.mean, 100 * f.same_top.error),
                     fmt::format("{:.1f} ({:.2f}x)", f.tokens_per_second, faster));
}

}  // namespace trireme::launch

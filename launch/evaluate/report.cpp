#include "launch/evaluate/report.h"

#include <cmath>
#include <numbers>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/report/number_text.h"
#include "launch/report/visible_text.h"

namespace trireme::launch {

namespace {

using nlohmann::ordered_json;

std::string loss_line(const LossOfText& loss) {
  return fmt::format(
      "loss {:.4f} +- {:.4f} nats per token, {:.4f} bits per byte; perplexity {:.4f} +- {:.4f}",
      loss.loss.mean, loss.loss.error, loss.nats_per_byte / std::numbers::ln2, loss.perplexity(),
      loss.perplexity_error());
}

std::string distance_text(const EvaluationReport& report, const DistanceOfText& distance) {
  return fmt::format(
      "reference   {}\n            {}\n"
      "divergence  KL(reference || model) {:.3g} +- {:.2g} nats per token; median {:.3g}, 99th percentile "
      "{:.3g}, largest {:.3g}\n"
      "            same likeliest token: {:.2f} +- {:.2f} %\n",
      visible(report.reference_text), loss_line(distance.reference), distance.divergence.mean,
      distance.divergence.error, distance.median, distance.percentile_99, distance.largest,
      100 * distance.same_top.mean, 100 * distance.same_top.error);
}

std::string choices_text(const EvaluationReport& report) {
  const ChoiceScores& choices = *report.choices;
  std::string text =
      fmt::format("choices     {}: {}, {} with labels\n", visible(report.choices_file),
                  counted(std::ssize(choices.answers), "question"), grouped(choices.num_labels));
  if (choices.num_labels > 0) {
    text += fmt::format(
        "            accuracy {:.2f} +- {:.2f} %; by log probability per byte {:.2f} +- {:.2f} %\n",
        100 * choices.accuracy.mean, 100 * choices.accuracy.error, 100 * choices.accuracy_per_byte.mean,
        100 * choices.accuracy_per_byte.error);
    return text;
  }
  for (size_t i = 0; i < choices.answers.size(); ++i) {
    const ChoiceAnswer& answer = choices.answers[i];
    text += fmt::format("  {:>8}  choice {} ({:.4f}); per byte choice {}\n", i + 1, answer.best,
                        answer.log_probabilities[static_cast<size_t>(answer.best)], answer.best_per_byte);
  }
  return text;
}

ordered_json number_or_null(double value) {
  return std::isfinite(value) ? ordered_json(value) : ordered_json();
}

ordered_json mean_json(const SampleMean& mean) {
  return {{"mean", number_or_null(mean.mean)}, {"standard_error", number_or_null(mean.error)}};
}

ordered_json loss_json(const LossOfText& loss) {
  return {{"nats_per_token", mean_json(loss.loss)},
          {"nats_per_byte", number_or_null(loss.nats_per_byte)},
          {"bits_per_byte", number_or_null(loss.nats_per_byte / std::numbers::ln2)},
          {"perplexity", number_or_null(loss.perplexity())},
          {"perplexity_standard_error", number_or_null(loss.perplexity_error())}};
}

ordered_json text_json(const EvaluationReport& report) {
  const TextScore& text = *report.text;
  ordered_json json = {{"file", report.text_file},
                       {"tokens", text.num_tokens},
                       {"bytes", text.num_bytes},
                       {"windows", text.num_windows},
                       {"seq_len", report.seq_len}};
  json.update(loss_json(text.model));
  if (!text.distance) return json;
  json["reference"] = loss_json(text.distance->reference);
  json["kl_divergence"] = mean_json(text.distance->divergence);
  json["kl_divergence"]["median"] = number_or_null(text.distance->median);
  json["kl_divergence"]["percentile_99"] = number_or_null(text.distance->percentile_99);
  json["kl_divergence"]["largest"] = number_or_null(text.distance->largest);
  json["same_top_token"] = mean_json(text.distance->same_top);
  return json;
}

ordered_json choices_json(const EvaluationReport& report) {
  const ChoiceScores& choices = *report.choices;
  ordered_json answers = ordered_json::array();
  for (const ChoiceAnswer& answer : choices.answers) {
    answers.push_back({{"log_probabilities", answer.log_probabilities},
                       {"tokens", answer.num_tokens},
                       {"bytes", answer.num_bytes},
                       {"best", answer.best},
                       {"best_per_byte", answer.best_per_byte}});
  }
  return {{"file", report.choices_file},
          {"questions", choices.answers.size()},
          {"labels", choices.num_labels},
          {"accuracy", mean_json(choices.accuracy)},
          {"accuracy_per_byte", mean_json(choices.accuracy_per_byte)},
          {"answers", std::move(answers)}};
}

}  // namespace

std::string evaluation_text(const EvaluationReport& report) {
  std::string text = fmt::format("model       {}\n", visible(report.model_text));
  if (report.text) {
    text += fmt::format("text        {}: {} tokens, {} bytes; {} of {} tokens\n            {}\n",
                        visible(report.text_file), grouped(report.text->num_tokens),
                        grouped(report.text->num_bytes), counted(report.text->num_windows, "window"),
                        grouped(report.seq_len), loss_line(report.text->model));
    if (report.text->distance) text += distance_text(report, *report.text->distance);
  }
  if (report.choices) text += choices_text(report);
  if (report.exits)
    text += fmt::format("exits       above {:g}, after {} blocks: {:.3f} of {} layers a token\n",
                        report.exits->rule.confidence, fmt::join(report.exits->rule.exits, ", "),
                        report.exits->counts.mean_blocks(), report.exits->layers);
  if (!report.note.empty()) text += fmt::format("note: {}\n", report.note);
  return text;
}

ordered_json evaluation_json(const EvaluationReport& report) {
  ordered_json json = {{"model", report.model}, {"loaded", report.model_text}};
  if (!report.reference.empty()) {
    json["against"] = report.reference;
    json["against_loaded"] = report.reference_text;
  }
  if (report.text) json["text"] = text_json(report);
  if (report.choices) json["choices"] = choices_json(report);
  if (report.exits)
    json["exits"] = {{"confidence", report.exits->rule.confidence},
                     {"exits", report.exits->rule.exits},
                     {"tokens", report.exits->counts.rows},
                     {"mean_layers", report.exits->counts.mean_blocks()},
                     {"layers", report.exits->layers}};
  return json;
}

}  // namespace trireme::launch

#include "launch/evaluate/choices.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "runtime/base/error.h"
#include "runtime/data/tokens/token_source.h"
#include "runtime/io/json/json_file.h"

namespace trireme::launch {

namespace {
ChoiceQuestion question_of(const nlohmann::json& line, const std::string& origin) {
  ChoiceQuestion question;
  question.origin = origin;
  question.context = json_string(json_member(line, "context", origin), "\"context\"", origin);
  const nlohmann::json& choices = json_member(line, "choices", origin);
  if (!choices.is_array() || choices.empty())
    throw_bad_input("{}: \"choices\" must be a list of at least one text", origin);
  for (const nlohmann::json& choice : choices) {
    question.choices.push_back(json_string(choice, "a choice", origin));
    if (question.choices.back().empty()) throw_bad_input("{}: a choice is empty", origin);
  }
  if (line.contains("label") && !line["label"].is_null())
    question.label = json_index(line["label"], std::ssize(question.choices),
                                "\"label\", a choice's number from 0", origin);
  return question;
}

/// Sequences of all questions, in order, and what their logits predict.
struct ChoicePlan {
  std::vector<KnownSequence> sequences;
  std::vector<int32_t> targets;
};

/// Context and choice, and how many tokens of them are the context's.
void add_choice(const Tokenizer& tokenizer, const ChoiceQuestion& question, const std::string& choice,
                int64_t same_context, ChoicePlan& plan) {
  const size_t end = question.context.find_last_not_of(" \t\r\n");
  const std::string context = question.context.substr(0, end == std::string::npos ? 0 : end + 1);
  std::vector<int32_t> tokens(tokenizer.begin_ids().begin(), tokenizer.begin_ids().end());
  if (tokens.empty() && context.empty()) {
    if (!tokenizer.end_of_text())
      throw_bad_input("{}: the context is empty, and the tokenizer has no token that begins or ends a text",
                      question.origin);
    tokens.push_back(*tokenizer.end_of_text());
  }
  const std::vector<int32_t> text = tokenizer.encode(question.context + choice, {question.origin, 0});
  const size_t of_context = tokenizer.encode(context, {question.origin, 0}).size();
  if (text.empty()) throw_bad_input("{}: context and choice have no tokens", question.origin);
  // A tokenizer may join the context's last token with the choice's first.
  const size_t first = tokens.size() + std::min(of_context, text.size() - 1);
  tokens.insert(tokens.end(), text.begin(), text.end());
  const size_t predicted = std::max<size_t>(first, 1);
  plan.targets.insert(plan.targets.end(), tokens.begin() + static_cast<ptrdiff_t>(predicted), tokens.end());
  tokens.pop_back();
  plan.sequences.push_back({.tokens = std::move(tokens),
                            .first_logit = static_cast<int64_t>(predicted) - 1,
                            .begins_as = same_context});
}

ChoicePlan plan_of(const Tokenizer& tokenizer, const std::vector<ChoiceQuestion>& questions,
                   int64_t vocab_size, int64_t max_seq_len) {
  ChoicePlan plan;
  for (const ChoiceQuestion& question : questions) {
    const int64_t first = std::ssize(plan.sequences);
    for (const std::string& choice : question.choices) {
      add_choice(tokenizer, question, choice, std::ssize(plan.sequences) == first ? -1 : first, plan);
      const KnownSequence& sequence = plan.sequences.back();
      check_ids(sequence.tokens, vocab_size, question.origin, 0);
      if (std::ssize(sequence.tokens) > max_seq_len)
        throw_bad_input("{}: context and choice are {} tokens, and the longest sequence is {} (--seq-len)",
                        question.origin, sequence.tokens.size() + 1, max_seq_len);
    }
  }
  check_ids(plan.targets, vocab_size, "the choices", 0);
  return plan;
}

ChoiceAnswer answer_of(const ChoiceQuestion& question, std::span<const KnownSequence> sequences,
                       std::span<const float>& losses) {
  ChoiceAnswer answer;
  for (size_t i = 0; i < question.choices.size(); ++i) {
    const auto count = static_cast<size_t>(sequences[i].num_logits());
    double sum = 0;
    for (const float loss : losses.first(count)) sum -= double{loss};
    losses = losses.subspan(count);
    answer.log_probabilities.push_back(sum);
    answer.num_tokens.push_back(static_cast<int64_t>(count));
    answer.num_bytes.push_back(std::ssize(question.choices[i]));
  }
  const auto per_byte = [&](size_t i) {
    return answer.log_probabilities[i] / static_cast<double>(answer.num_bytes[i]);
  };
  for (size_t i = 1; i < question.choices.size(); ++i) {
    if (answer.log_probabilities[i] > answer.log_probabilities[static_cast<size_t>(answer.best)])
      answer.best = static_cast<int64_t>(i);
    if (per_byte(i) > per_byte(static_cast<size_t>(answer.best_per_byte)))
      answer.best_per_byte = static_cast<int64_t>(i);
  }
  return answer;
}

}  // namespace

std::vector<ChoiceQuestion> read_choices(std::string_view text, const std::string& file) {
  std::vector<ChoiceQuestion> questions;
  int64_t number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string origin = fmt::format("{}:{}", file, number);
    questions.push_back(question_of(parse_json(line, origin), origin));
  }
  if (questions.empty()) throw_bad_input("{} has no questions", file);
  return questions;
}

ChoiceScores score_choices(Context& ctx, CachedModel& model, const Tokenizer& tokenizer,
                           const std::vector<ChoiceQuestion>& questions, int64_t vocab_size,
                           int64_t max_seq_len, const PassLimits& limits) {
  const ChoicePlan plan = plan_of(tokenizer, questions, vocab_size, max_seq_len);
  const TokenScores scored = score_tokens(ctx, model, nullptr, plan.sequences, plan.targets, limits);
  ChoiceScores scores;
  std::span<const KnownSequence> sequences = plan.sequences;
  std::span<const float> losses = scored.losses;
  std::vector<float> right, right_per_byte;
  for (const ChoiceQuestion& question : questions) {
    const ChoiceAnswer& answer =
        scores.answers.emplace_back(answer_of(question, sequences.first(question.choices.size()), losses));
    sequences = sequences.subspan(question.choices.size());
    if (!question.label) continue;
    right.push_back(answer.best == *question.label ? 1 : 0);
    right_per_byte.push_back(answer.best_per_byte == *question.label ? 1 : 0);
  }
  scores.num_labels = std::ssize(right);
  scores.accuracy = sample_mean(right);
  scores.accuracy_per_byte = sample_mean(right_per_byte);
  return scores;
}

}  // namespace trireme::launch

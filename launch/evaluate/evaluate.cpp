#include "launch/evaluate/evaluate.h"

#include <algorithm>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "launch/checkpoint/agreed.h"
#include "launch/evaluate/trained_samples.h"
#include "launch/generate/model_files.h"
#include "launch/report/number_text.h"
#include "models/cost/model_size.h"
#include "models/families/family.h"
#include "models/inference/inference_model.h"
#include "runtime/base/error.h"
#include "runtime/io/files/file.h"

namespace trireme::launch {

namespace {

/// The bytes of rank 0's file on every rank.
std::string shared_file(Context& ctx, Communicator& world, const std::string& path) {
  std::string text;
  together(world, [&] {
    if (world.rank() == 0) text = read_text_file(path);
  });
  auto size = static_cast<int64_t>(text.size());
  world.broadcast(ctx.host_stream(), Tensor::borrow(&size, {1}, DType::i64), 0);
  text.resize(static_cast<size_t>(size));
  if (size > 0) world.broadcast(ctx.host_stream(), Tensor::borrow(text.data(), {size}, DType::u8), 0);
  return text;
}

/// What is known of a model before its weights are read.
struct Described {
  ModelFiles files;
  std::unique_ptr<Tokenizer> tokenizer;  ///< null: none is there
  TrainedSamples samples;
};

Described describe(Communicator& world, const InferenceArguments& arguments) {
  Described model;
  together(world, [&] {
    model.files = find_model_files(arguments.path, arguments.tokenizer);
    model.tokenizer = tokenizer_of(model.files);
    model.samples = trained_samples_of(arguments.path);
  });
  return model;
}

const Tokenizer& tokenizer_for_text(const Described& model) {
  if (model.tokenizer == nullptr)
    throw_usage("no tokenizer lies beside {}: name the model's (--tokenizer PATH)", model.files.path);
  return *model.tokenizer;
}

int64_t seq_len_of(const EvaluateArguments& arguments, const Described& model) {
  const int64_t longest = model.files.config.max_positions;
  if (arguments.seq_len > longest)
    throw_usage("--seq-len {}: {} has positions for {} tokens", arguments.seq_len, arguments.model.path,
                longest);
  if (arguments.seq_len > 0) return arguments.seq_len;
  if (model.samples.seq_len > 0) return std::min(model.samples.seq_len, longest);
  return std::min(longest, EvaluateArguments::kDefaultSeqLen);
}

CacheOptions with_exits(CacheOptions cache, const ModelConfig& config, const ExitArguments& exit) {
  cache.exit = exit_rule_of(config, exit);
  return cache;
}

/// A model in memory, with its cache.
struct Loaded {
  Loaded(Context& ctx, Communicator& world, const ModelFiles& files, const InferenceArguments& arguments,
         const CacheOptions& cache)
      : model(ctx, world, files.path, fitting(files.config, arguments), arguments.model),
        cached(ctx, model.parallel(), model.model(), with_exits(cache, model.config(), arguments.exit)) {
    check_formats(arguments, model.loaded());
  }

  std::string text(const std::string& path) const {
    const LoadReport& loaded = model.loaded();
    return fmt::format("{}: {}, {} parameters; {}: {} per rank", path, to_string(model.config().family),
                       short_count(static_cast<double>(size_of(model.config()).parameters)), loaded.formats,
                       short_bytes(static_cast<double>(loaded.weight_bytes)));
  }

  InferenceModel model;
  CachedModel cached;
};

InferenceArguments of_reference(const EvaluateArguments& arguments) {
  InferenceArguments reference = arguments.model;
  reference.path = arguments.against;
  reference.weights.reset();
  reference.exit = {};
  reference.activations.reset();  // which says that nobody asked
  reference.model.weights.reset();
  reference.model.activations = ops::Activations::exact;
  return reference;
}

void check_alike(const Described& model, const Described& reference, const std::string& text) {
  const int64_t ours = model.files.config.vocab_size, theirs = reference.files.config.vocab_size;
  if (ours != theirs)
    throw_usage(
        "--against {} has a vocabulary of {} tokens, {} one of {}: distributions over different tokens "
        "cannot be compared",
        reference.files.path, theirs, model.files.path, ours);
  if (reference.tokenizer == nullptr) return;  // the model's serves for both
  if (reference.tokenizer->encode(text) != model.tokenizer->encode(text))
    throw_usage("--against {} has another tokenizer than {}: the text has other tokens there",
                reference.files.path, model.files.path);
}

}  // namespace

std::vector<std::string> errors_of(const EvaluateArguments& arguments) {
  std::vector<std::string> errors;
  if (arguments.text.empty() && arguments.choices.empty())
    errors.emplace_back("nothing to evaluate on: give --text FILE or --choices FILE");
  if (!arguments.against.empty() && arguments.text.empty())
    errors.emplace_back("--against compares two models on a text: give --text FILE");
  if (arguments.begins && arguments.text.empty())
    errors.emplace_back("--begin has no effect without --text: leave it out");
  for (std::string& error : errors_of(arguments.model.exit, false, arguments.model.model.plan.pipeline))
    errors.push_back(std::move(error));
  return errors;
}

EvaluationReport evaluate(Context& ctx, Communicator& world, const EvaluateArguments& asked) {
  const std::string text = asked.text.empty() ? "" : shared_file(ctx, world, asked.text);
  std::vector<ChoiceQuestion> questions;
  if (!asked.choices.empty()) questions = read_choices(shared_file(ctx, world, asked.choices), asked.choices);
  const Described described = describe(world, asked.model);
  const Tokenizer& tokenizer = tokenizer_for_text(described);
  EvaluateArguments arguments = asked;
  arguments.seq_len = arguments.model.model.max_seq_len = seq_len_of(asked, described);
  const int64_t vocab_size = described.files.config.vocab_size;
  const PassLimits limits =
      pass_limits(arguments.seq_len, vocab_size, arguments.model.batch_tokens, arguments.model.cache);
  std::optional<Described> other;
  if (!asked.against.empty()) {
    other = describe(world, of_reference(arguments));
    check_alike(described, *other, text);
  }

  Loaded model(ctx, world, described.files, arguments.model, limits.cache);
  std::optional<Loaded> reference;
  if (other) {
    CacheOptions plain = limits.cache;
    plain.type = ops::CacheType::plain;
    reference.emplace(ctx, world, other->files, of_reference(arguments), plain);
  }
  EvaluationReport report;
  report.model = asked.model.path;
  report.model_text = model.text(report.model);
  report.reference = asked.against;
  if (reference) report.reference_text = reference->text(asked.against);
  report.text_file = asked.text;
  report.choices_file = asked.choices;
  report.seq_len = arguments.seq_len;
  if (!asked.text.empty()) {
    const ScoredText scored{text, arguments.seq_len, described.samples.micro_batch, asked.begins};
    report.text = score_text(ctx, model.cached, reference ? &reference->cached : nullptr, tokenizer, scored,
                             vocab_size, limits);
    if (!asked.begins && !tokenizer.begin_ids().empty())
      report.note = "the tokenizer begins texts with tokens of their own; windows have them with --begin";
  }
  if (!questions.empty())
    report.choices =
        score_choices(ctx, model.cached, tokenizer, questions, vocab_size, arguments.seq_len, limits);
  if (asked.model.exit.is_on()) {
    report.exits = {exit_rule_of(model.model.config(), asked.model.exit), model.cached.exit_counts(),
                    model.model.config().num_layers};
    for (const std::string& line : exit_warnings(model.model.config(), asked.model.exit, false))
      report.note += (report.note.empty() ? "" : "\n      ") + line;
  }
  return report;
}

}  // namespace trireme::launch

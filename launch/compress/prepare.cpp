// Before the first step: the model, the texts, and how fast it goes.
#include <algorithm>
#include <chrono>
#include <filesystem>

#include <fmt/ranges.h>

#include "launch/compress/block_files.h"
#include "launch/compress/compression.h"
#include "launch/compress/cut_amounts.h"
#include "launch/compress/matrix_plans.h"
#include "launch/compress/share_outcome.h"
#include "launch/evaluate/trained_samples.h"
#include "models/cost/model_size.h"
#include "models/formats/open_weights.h"
#include "models/formats/trained_codes.h"
#include "runtime/base/error.h"
#include "runtime/data/tokens/token_source.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int64_t kDefaultSeqLen = 512;

int64_t chosen_seq_len(int64_t asked, const char* option, int64_t otherwise, int64_t longest) {
  if (asked > longest) throw_usage("--{} {}: the model has positions for {} tokens", option, asked, longest);
  return asked > 0 ? asked : std::min(otherwise, longest);
}

[[noreturn]] void refuse_step(const RecipeStep& step, const std::vector<std::string>& errors) {
  throw_usage("step {}: {}", step.name, fmt::join(errors, "\n"));
}

/// What is wrong with the steps for this model, before any of them is made.
void check_recipe(const Compression& c) {
  const Recipe& recipe = c.arguments.recipe;
  ModelConfig config = c.files.config;
  std::shared_ptr<const WeightSource> source = c.source;
  bool is_quantized = false;
  for (const RecipeStep& step : recipe.steps) {
    if (step.kind == StepKind::cut) {
      config = fitting(planned_config(config, numbers_of(step.cut, config)), c.arguments.model);
      source = values_of(source);
    } else if (step.kind == StepKind::share) {
      config = fitting(planned_config(config, step.share), c.arguments.model);
      source = values_of(source);
    } else if (step.kind == StepKind::prune) {
      if (const auto errors = errors_of(step.prune, config); !errors.empty()) refuse_step(step, errors);
      source = values_of(source);
    } else if (step.kind == StepKind::quantize && !is_quantized) {
      if (const auto errors = errors_of(step.quantize, config, *source); !errors.empty())
        refuse_step(step, errors);
      is_quantized = true;  // the next one's depend on what this one leaves
    }
  }
  const std::vector<std::string> errors = export_errors(recipe, config, *source);
  if (!errors.empty()) throw_usage("{}", fmt::join(errors, "\n"));
}

}  // namespace

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

void check_out(const std::string& out) {
  std::error_code ignored;
  if (fs::exists(out, ignored)) throw_usage("--out {} is there already: name a directory that is not", out);
  const fs::path parent = fs::absolute(out).parent_path();
  if (!fs::is_directory(parent, ignored))
    throw_usage("--out {}: there is no directory {}", out, parent.string());
}

/// Of tokens of one forward pass, after one that warms up; and of decoding.
WorkLoad measure_rates(Compression& c, int64_t seq_len) {
  Measuring some = c.measuring;
  const auto count =
      std::min<size_t>(some.ids.size(), static_cast<size_t>(std::max<int64_t>(2, c.measuring.seq_len)));
  some.ids.resize(count);
  measure_loss(c.ctx, *c.base, nullptr, some);
  const auto begin = Clock::now();
  measure_loss(c.ctx, *c.base, nullptr, some);
  const std::chrono::duration<double> spent = Clock::now() - begin;
  WorkLoad load;
  const ParallelPlan& plan = c.arguments.model.model.plan;
  const auto replicas = static_cast<int64_t>(plan.data);
  load.calibration_tokens = (std::ssize(c.samples) + replicas - 1) / replicas * seq_len;
  load.seq_len = seq_len;
  load.evaluation_tokens = std::ssize(c.measuring.ids);
  load.decode_tokens = c.measuring.decode_tokens;
  load.ranks_of_model = plan.tensor * plan.pipeline;
  load.forward_seconds_per_token = spent.count() / static_cast<double>(count);
  load.decode_seconds_per_token = load.forward_seconds_per_token * 3;
  return load;
}

std::shared_ptr<const WeightSource> base_weights(const Compression& c) {
  ModelConfig config = c.files.config;
  config.quantization = c.quantization;
  // Of a training through quantization, what it trained: codes.
  return trained_codes(open_weights(find_weights(c.files.path), config), c.quantization);
}

void load_base(Compression& c) {
  c.base = std::make_unique<InferenceModel>(c.ctx, c.world, *base_weights(c), c.files.config,
                                            c.model_options(ops::Activations::exact));
}

void read_model(Compression& c) {
  together(c.world, [&] {
    check_out(without_slash(c.arguments.out));
    c.files = find_model_files(c.arguments.model.path, c.arguments.model.tokenizer);
    c.quantization = c.files.config.quantization;
    c.files.config.quantization = {};
    c.source = base_weights(c);
    check_recipe(c);
  });
  c.config = fitting(c.files.config, c.arguments.model);
}

/// Texts, samples, and the base itself.
int64_t prepare_texts(Compression& c) {
  const CompressArguments& a = c.arguments;
  const int64_t longest = c.config.max_positions;
  const int64_t seq_len =
      chosen_seq_len(a.recipe.calibration.seq_len, "calibration.seq-len", kDefaultSeqLen, longest);
  int64_t trained = 0;
  together(c.world, [&] { trained = trained_samples_of(c.files.path).seq_len; });
  c.measuring.seq_len =
      chosen_seq_len(a.measuring.seq_len, "eval.seq-len", trained > 0 ? trained : kDefaultSeqLen, longest);
  c.measuring.vocab_size = c.config.vocab_size;
  c.measuring.batch_tokens = a.model.batch_tokens;
  c.measuring.decode_tokens = size_of(c.config).parameters > 1'000'000'000 ? 16 : 64;
  if (a.measuring.decode_tokens > 0) c.measuring.decode_tokens = a.measuring.decode_tokens;
  c.texts = find_texts(c.world, a, c.files);
  if (!c.texts.note.empty()) c.say("note: " + c.texts.note);
  load_base(c);
  if (c.texts.is_empty()) {
    c.say("no text is named (--calibration.text): the model writes its own, which takes a while");
    const std::vector<int32_t> asked = std::move(c.texts.evaluation);
    const std::string from = c.texts.evaluation_from;
    c.texts = write_texts(c.ctx, *c.base, c.files, a.recipe.calibration, seq_len);
    if (!asked.empty()) {
      c.texts.evaluation = asked;
      c.texts.evaluation_from = from;
    }
  }
  c.samples = c.texts.is_written ? whole_samples(c.texts.calibration, seq_len)
                                 : draw_samples(c.texts.calibration, a.recipe.calibration, seq_len,
                                                c.config.vocab_size, c.texts.calibration_from);
  c.measuring.ids = c.texts.evaluation;
  if (std::ssize(c.measuring.ids) > a.measuring.tokens)
    c.measuring.ids.resize(static_cast<size_t>(a.measuring.tokens));
  if (c.measuring.ids.size() < 2)
    throw_usage("nothing to measure on: {} has {} tokens; --eval.text names a text", c.texts.evaluation_from,
                c.measuring.ids.size());
  check_ids(c.measuring.ids, c.config.vocab_size, c.texts.evaluation_from, 0);
  return seq_len;
}

}  // namespace trireme::launch

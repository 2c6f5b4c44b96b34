// A step by which layers that do alike come to share weights.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>

#include <fmt/ranges.h>

#include "launch/compress/compression.h"
#include "launch/compress/share_outcome.h"
#include "launch/compress/step_files.h"
#include "models/config/weight_sharing.h"
#include "runtime/base/error.h"
#include "runtime/io/files/atomic_file.h"
#include "runtime/io/json/json_file.h"

namespace trireme::launch {

namespace {

using FoldClock = std::chrono::steady_clock;

class ShareRun {
 public:
  ShareRun(Compression& c, size_t index)
      : c_(c),
        step_(c.arguments.recipe.steps[index]),
        file_(c.work.step_directory(index) + "/sets.json"),
        is_base_(index == 0) {
    together(c.world, [&] {
      if (c.is_first()) c.work.make_step_directory(index);
    });
  }

  /// Which layers share whose weights: of rank 0, as the file has it, so that all ranks fold the same.
  ShareOutcome outcome() {
    bool is_known = false;
    together(c_.world, [&] {
      std::error_code ignored;
      is_known = std::filesystem::exists(file_, ignored);
    });
    if (!is_known) measure();
    ShareOutcome outcome = read();
    say_sets(outcome);
    while (!outcome.is_decided()) {
      c_.end_if_asked();
      decide(outcome);
      save(outcome);
    }
    return outcome;
  }

 private:
  void measure() {
    int64_t count = 0;
    together(c_.world, [&] { count = sets_left(step_.share, c_.config); });
    // The first step's model is the base, which is there.
    std::optional<InferenceModel> later;
    if (!is_base_)
      later.emplace(c_.ctx, c_.world, *c_.source, c_.config, c_.model_options(ops::Activations::exact));
    if (c_.is_first()) c_.line.begin(step_.name);
    ShareOutcome outcome;
    outcome.likeness =
        measure_likeness(c_.ctx, later ? *later : *c_.base, c_.samples, [&](int64_t done, int64_t total) {
          if (c_.is_first()) c_.line.show(done, total, "likeness of layers");
        });
    if (c_.is_first()) c_.line.end();
    together(c_.world,
             [&] { outcome.sets = choose_sets(c_.config, outcome.likeness, step_.share.grouping, count); });
    for (FoldedSet& set : outcome.sets) {
      if (step_.share.values == FoldValues::mean && owners_in(c_.config, set).size() > 1)
        set.values = kMeanWeights;
    }
    if (step_.share.values != FoldValues::measured) outcome.trials.resize(outcome.sets.size());
    save(outcome);
  }

  /// The weights of the next set with which the loss on the samples is least, the sets behind it as likeness
  /// has them.
  void decide(ShareOutcome& outcome) {
    FoldedSet& set = outcome.sets[outcome.trials.size()];
    std::vector<int64_t> candidates = owners_in(c_.config, set);
    std::vector<FoldTrial>& trials = outcome.trials.emplace_back();
    if (candidates.size() == 1) return;
    candidates.push_back(kMeanWeights);
    for (const int64_t values : candidates) {
      set.values = values;
      if (const auto loss = loss_of(outcome.sets)) trials.push_back({values, *loss});
    }
    if (trials.empty())
      throw_user(ExitCode::numerics, "step {}: with no weights of layers {} are the model's logits finite",
                 step_.name, fmt::join(set.layers, ", "));
    // Of equal ones the first; the mean is the last.
    set.values = std::ranges::min_element(trials, {}, &FoldTrial::loss)->values;
    if (!c_.is_first()) return;
    std::string text;
    for (const FoldTrial& trial : trials)
      text += fmt::format("{}{} {:.4f}", text.empty() ? "" : ", ", values_text(trial.values), trial.loss);
    c_.say(fmt::format("{}: layers {} with the weights of {}: {}", step_.name, fmt::join(set.layers, ", "),
                       values_text(set.values), text));
  }

  /// Nothing where logits are not finite.
  std::optional<double> loss_of(const std::vector<FoldedSet>& sets) {
    constexpr size_t kMostTokens = 8192;
    const ModelConfig folded = fold_config(c_.config, sets);
    InferenceModel model(c_.ctx, c_.world, *fold_weights(c_.source, c_.config, sets), folded,
                         c_.model_options(ops::Activations::exact));
    Measuring on = c_.measuring;
    on.ids.clear();
    for (const std::vector<int32_t>& sample : c_.samples) {
      if (!on.ids.empty() && on.ids.size() + sample.size() > kMostTokens) break;
      on.ids.insert(on.ids.end(), sample.begin(), sample.end());
    }
    on.seq_len = std::ssize(c_.samples.front());
    try {
      return measure_loss(c_.ctx, model, nullptr, on).loss.mean;
    } catch (const UserError& error) {
      if (error.code() != ExitCode::numerics) throw;
      return std::nullopt;  // the same on all ranks
    }
  }

  void say_sets(const ShareOutcome& outcome) {
    std::string text;
    for (const FoldedSet& set : outcome.sets)
      text += fmt::format("{}{}", text.empty() ? "" : " | ", fmt::join(set.layers, " "));
    c_.say(fmt::format("{}: {} sets of weights for {} layers: {}", step_.name, outcome.sets.size(),
                       c_.config.num_layers, text));
  }

  void save(const ShareOutcome& outcome) {
    together(c_.world, [&] {
      if (c_.is_first()) write_file_atomically(file_, json_of(outcome).dump() + "\n");
    });
  }
  ShareOutcome read() {
    ShareOutcome outcome;
    together(c_.world, [&] {
      outcome = share_outcome_of(read_json_file(file_), file_);
      fold_config(c_.config, outcome.sets);
    });
    return outcome;
  }

  Compression& c_;
  const RecipeStep& step_;
  std::string file_;
  bool is_base_;
};

}  // namespace

StepRecord share_step(Compression& c, size_t index) {
  const auto begin = FoldClock::now();
  c.end_if_asked();
  StepRecord record;
  record.shared = ShareRun(c, index).outcome();
  c.end_if_asked();
  together(c.world, [&] {
    const ModelConfig folded = fold_config(c.config, record.shared->sets);
    const DType type = values_type(*c.source, c.config);
    const auto source = fold_weights(c.source, c.config, record.shared->sets);
    if (c.is_first()) write_step(c.work.step_file(index), folded, *source, {.values = type});
    c.config = folded;
  });
  measure_file(c, index, ops::Activations::exact, record);
  record.figures.seconds = std::chrono::duration<double>(FoldClock::now() - begin).count();
  return record;
}

}  // namespace trireme::launch

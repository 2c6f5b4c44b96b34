#include "launch/run/sample_orders.h"

#include <cmath>

#include <fmt/format.h>

#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

int64_t num_tokens(const std::shared_ptr<const TokenSource>& part) { return part ? part->num_tokens() : 0; }

/// "the training part of a.txt, 36 of its 40 tokens": whichever part it is; the whole file by its name alone.
std::string part_text(const RunConfig& config, const TrainingData& data, const char* which, int64_t count) {
  const bool is_divided = config.data.valid_tokens.empty() && data.validation != nullptr;
  if (!is_divided) return fmt::format("{} (the {} data) has {} tokens", data.train->name(), which, count);
  return fmt::format("the {} part of {} has {} of its {} tokens (--data.valid-fraction {})", which,
                     data.train->name(), count, num_tokens(data.train) + num_tokens(data.validation),
                     config.data.valid_fraction);
}

}  // namespace

SampleOrder training_order(const RunConfig& config, const TrainingData& data) {
  const int64_t seq_len = config.train.seq_len, count = data.train->num_tokens();
  if (count > seq_len) return SampleOrder::shuffled(config.train.seed, count, seq_len, data.train->name());
  throw_bad_input("{}; a sequence length of {} needs at least {}: use a longer text{}",
                  part_text(config, data, "training", count), seq_len, seq_len + 1,
                  count > 1 ? fmt::format(", or --train.seq-len {} or less", count - 1) : "");
}

SampleOrder validation_order(const RunConfig& config, const TrainingData& data) {
  const int64_t seq_len = config.train.seq_len, count = data.validation->num_tokens();
  if (count > seq_len) return SampleOrder::sequential(count, seq_len, data.validation->name());
  const std::string shorter = count > 1 ? fmt::format(", --train.seq-len {} or less", count - 1) : "";
  if (!config.data.valid_tokens.empty()) {
    throw_bad_input(
        "{} (--data.valid-tokens) has {} tokens; a sequence length of {} needs at least {}: use a longer "
        "file{}",
        data.validation->name(), count, seq_len, seq_len + 1, shorter);
  }
  const auto whole = static_cast<double>(num_tokens(data.train) + count);
  const double enough = std::ceil(100 * static_cast<double>(seq_len + 1) / whole) / 100;
  const bool can_grow = enough < 1 && whole * (1 - enough) > static_cast<double>(seq_len);
  throw_bad_input(
      "{}; a sequence length of {} needs at least {}: use a longer text, --data.valid-fraction 0 (no "
      "evaluation){}{}",
      part_text(config, data, "validation", count), seq_len, seq_len + 1,
      can_grow ? fmt::format(" or {:g}", enough) : "", shorter);
}

}  // namespace trireme::launch

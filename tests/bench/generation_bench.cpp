// What a step of generation costs the host beside the arithmetic of the model: one block of width 16, so that
// next to nothing is computed, at several contexts and vocabularies, without scores and with alternatives.
#include <algorithm>
#include <chrono>
#include <string>

#include <fmt/format.h>

#include "models/families/family.h"
#include "models/inference/generator.h"
#include "models/session/training_session.h"
#include "runtime/comm/self/self_communicator.h"

namespace trireme {
namespace {

using Clock = std::chrono::steady_clock;

ModelConfig small_model(int64_t longest, int64_t vocab_size) {
  ModelConfig c;
  apply_family(c, ModelFamily::llama);
  c.vocab_size = vocab_size;
  c.num_layers = 1;
  c.hidden_size = 16;
  c.num_heads = c.num_kv_heads = 1;
  c.ffn_size = 32;
  c.max_positions = longest;
  return c;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

struct StepTimes {
  double step, pass;  // microseconds: medians
};

// Steps that continue `count` sequences of `context` tokens, and passes over such batches by themselves.
StepTimes time_steps(int64_t count, int64_t context, int64_t vocab_size, int64_t num_alternatives) {
  constexpr int64_t kSteps = 200;
  Context ctx;
  const auto self = make_self_communicator();
  TrainingSession session(ctx, *self, {.data = 1}, small_model(context + kSteps + 8, vocab_size), {});
  const int64_t blocks = (context + kSteps) / 32 + 2;
  CachedModel cached(ctx, session.parallel(), session.model(), {.num_blocks = count * blocks});
  Generator generator(ctx, session.parallel(), cached, {.max_batch_tokens = 4096, .reuses_prefixes = false});
  const std::vector<int32_t> prompt(static_cast<size_t>(context), 1);
  for (int64_t i = 0; i < count; ++i)
    generator.add({.prompt = prompt, .max_tokens = kSteps + 2, .num_alternatives = num_alternatives});
  while (generator.text(count - 1).empty()) generator.step({});
  std::vector<double> steps, passes;
  const auto microseconds_of = [](auto&& work) {
    const auto begin = Clock::now();
    work();
    return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
  };
  for (int64_t i = 0; i < kSteps - 100; ++i) steps.push_back(microseconds_of([&] { generator.step({}); }));
  std::vector<std::vector<int32_t>> of_sequences;
  std::vector<SequenceChunk> chunks;
  for (int64_t i = 0; i < count; ++i) {
    auto& own = of_sequences.emplace_back();
    for (int64_t b = 0; b < blocks; ++b) own.push_back(static_cast<int32_t>(i * blocks + b));
    chunks.push_back({std::span(prompt).first(1), context + 50, own, 1});
  }
  for (int i = 0; i < 100; ++i) passes.push_back(microseconds_of([&] { cached.logits(ctx, chunks); }));
  return {median(steps), median(passes)};
}

void print_times(int64_t count, int64_t context, int64_t vocab_size, int64_t num_alternatives) {
  const StepTimes t = time_steps(count, context, vocab_size, num_alternatives);
  fmt::print("{:>10} {:>8} {:>10} {:>12} {:>10.1f} {:>10.1f} {:>10.1f}\n", count, context, vocab_size,
             num_alternatives < 0 ? "-" : std::to_string(num_alternatives), t.step, t.pass, t.step - t.pass);
}

int run() {
  fmt::print("{:>10} {:>8} {:>10} {:>12} {:>10} {:>10} {:>10}\n", "sequences", "context", "vocabulary",
             "alternatives", "step, us", "pass, us", "rest, us");
  for (const int64_t count : {1, 8, 64}) {
    for (const int64_t context : {100, 1000, 4000}) print_times(count, context, 64, -1);
  }
  for (const int64_t count : {16, 64}) {
    for (const int64_t alternatives : {-1, 0, 20}) print_times(count, 100, 49'152, alternatives);
  }
  return 0;
}

}  // namespace
}  // namespace trireme

int main() { return trireme::run(); }

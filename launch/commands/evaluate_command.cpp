// trireme evaluate: from arguments to launch/evaluate.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/cli/help_text.h"
#include "launch/cli/plain_arguments.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/commands.h"
#include "launch/commands/rank_world.h"
#include "launch/config/attention_choice.h"
#include "launch/evaluate/evaluate.h"
#include "runtime/comm/mpi/mpi_environment.h"

namespace trireme::launch {

namespace {

struct EvaluateCommand {
  EvaluateArguments arguments;
  bool is_json = false;
};

std::vector<PlainOption> text_options(EvaluateCommand& command) {
  EvaluateArguments& a = command.arguments;
  return {
      {"text", "FILE", "perplexity of this text: the mean loss of its tokens, and of its bytes", "none",
       text_into(a.text)},
      {"against", "MODEL",
       "also how far the model is from this reference on the text: KL(reference || model) of each token, and "
       "how often both have the same likeliest token",
       "none", text_into(a.against)},
      {"choices", "FILE",
       "JSON lines {\"context\": ..., \"choices\": [...], \"label\": n}: log probabilities of the choices, "
       "and the accuracy where there are labels",
       "none", text_into(a.choices)},
      {"seq-len", "N",
       "tokens of a window, each without view of those before it, and the longest context with a choice",
       fmt::format("that of the run's training, or the model's longest, at most {}",
                   EvaluateArguments::kDefaultSeqLen),
       whole_into(a.seq_len, 1, int64_t{1} << 40)},
      {"begin", "",
       "each window of the text begins with the tokens that the tokenizer begins texts with (<s>)", "",
       switch_into(a.begins)},
      {"json", "", "print one JSON object", "", switch_into(command.is_json)},
  };
}

/// Those that mean something without a text being generated.
std::vector<PlainOption> model_options(EvaluateCommand& command) {
  std::vector<PlainOption> options = inference_options(command.arguments.model);
  std::erase_if(options, [](const PlainOption& option) {
    return option.name == "max-seq-len" || option.name == "cache-tokens";
  });
  std::ranges::move(exit_options(command.arguments.model.exit, false), std::back_inserter(options));
  return options;
}

std::string evaluate_help() {
  EvaluateCommand command;
  return fmt::format(
      "usage: trireme evaluate MODEL --text FILE [options]\n"
      "       trireme evaluate MODEL --choices FILE [options]\n"
      "       mpirun -n RANKS trireme evaluate MODEL ... --tp N --pp N [options]\n\n"
      "  trireme evaluate runs/mine --text book.txt\n"
      "  trireme evaluate SmolLM2-135M --weights int4 --text book.txt --against SmolLM2-135M\n\n"
      "Says how well MODEL (a run directory, a checkpoint, a directory of Hugging Face's transformers, a "
      ".safetensors or\n"
      "a GGUF file) predicts a text, how far it is from another model, and which choices it prefers "
      "(docs/generation.md).\n\n{}\nmodel\n{}",
      help_plain(text_options(command)), help_plain(model_options(command)));
}

void parse_evaluate(std::span<const std::string> args, int world_size, EvaluateCommand& command) {
  std::vector<PlainOption> options = text_options(command);
  std::ranges::move(model_options(command), std::back_inserter(options));
  std::vector<std::string> errors;
  const std::vector<std::string> words = parse_plain_arguments("evaluate", options, args, errors);
  EvaluateArguments& a = command.arguments;
  if (words.size() != 1) {
    errors.push_back(fmt::format("evaluate takes one MODEL, given {}", words.size()));
  } else {
    a.model.path = words.front();
    std::ranges::move(errors_of(a), std::back_inserter(errors));
  }
  complete(a.model, world_size, errors);
  if (!errors.empty()) throw_errors(errors, "evaluate");
}

}  // namespace

void run_evaluate(std::span<const std::string> args, const RankPlace& place) {
  if (asks_for_help(args)) {
    if (place.rank == 0) fmt::print("{}", evaluate_help());
    return;
  }
  EvaluateCommand command;
  parse_evaluate(args, place.world_size, command);
  const RunOptions& run = command.arguments.model.run;
  const Fact facts[] = {{"arguments", fmt::format("evaluate {}", fmt::join(args, " ")), ""}};
  const RankWorld ranks = make_world(run, place, facts);
  const int local_ranks = place.mpi != nullptr ? place.mpi->local_size() : 1;
  Context ctx(ranks.device, threads_of(run, local_ranks), choose_op_settings(run, ranks.device));
  ctx.set_recorder(ranks.recorder.get());
  const EvaluationReport report = evaluate(ctx, *ranks.world, command.arguments);
  if (place.rank != 0) return;
  fmt::print("{}", command.is_json ? evaluation_json(report).dump(2) + "\n" : evaluation_text(report));
}

}  // namespace trireme::launch

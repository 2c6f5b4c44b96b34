// trireme generate: from arguments to launch/generate.
#include <cstdio>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/cli/help_text.h"
#include "launch/cli/plain_arguments.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/commands.h"
#include "launch/commands/rank_world.h"
#include "launch/config/attention_choice.h"
#include "launch/generate/generate.h"
#include "launch/generate/memory_limit.h"
#include "launch/process/stop_request.h"
#include "runtime/comm/mpi/mpi_environment.h"

namespace trireme::launch {

namespace {

std::function<std::string(const std::string&)> switched_on(bool& field) {
  return [&field](const std::string&) {
    field = true;
    return std::string();
  };
}

std::vector<PlainOption> prompt_options(GenerateArguments& a) {
  return {
      {"prompts", "FILE",
       "prompts from a file: a text a line, or a JSON object a line with \"prompt\", \"messages\" or "
       "\"tokens\", and \"id\", \"max_tokens\", \"temperature\", \"seed\", \"stop\", ... of its own",
       "none", text_into(a.prompt_file)},
      {"chat", "", "a conversation by the model's chat template: each line of standard input is a message",
       "", switched_on(a.is_chat)},
      {"apply-template", "", "each prompt is a user's message, by the model's chat template", "",
       switched_on(a.applies_template)},
      {"system", "TEXT", "the system message of conversations", "none", text_into(a.system)},
      {"json", "", "print a JSON object a text, a line each, and a summary", "", switched_on(a.is_json)},
      {"logprobs", "", "with --json: natural logs of the tokens' probabilities, before any filter", "",
       switched_on(a.has_logprobs)},
      {"quiet", "", "do not print the speed to standard error", "", switched_on(a.is_quiet)},
  };
}

std::vector<PlainOption> model_options(GenerateArguments& a) {
  std::vector<PlainOption> options = inference_options(a.model);
  options.push_back(memory_limit_option(a.model));
  return options;
}

std::string generate_help() {
  GenerateArguments a;
  return fmt::format(
      "usage: trireme generate MODEL PROMPT... [options]\n"
      "       trireme generate MODEL --prompts FILE [options]\n"
      "       trireme generate MODEL --chat [options]\n"
      "       mpirun -n RANKS trireme generate MODEL ... --tp N --pp N [options]\n\n"
      "  trireme generate runs/mine 'In the beginning'\n"
      "  trireme generate SmolLM2-135M-Instruct.Q4_1.gguf --chat --temperature 0.7\n"
      "  trireme generate SmolLM2-135M --prompts prompts.jsonl --json --weights int8\n\n"
      "Continues prompts. MODEL is a run directory, a checkpoint, a directory of Hugging Face's "
      "transformers, "
      "a\n"
      ".safetensors or a GGUF file (docs/generation.md). Without --temperature the likeliest token is taken. "
      "Ctrl-C\n"
      "ends an answer of --chat, else the program at the next token.\n\nprompts and output\n{}\ntext\n{}\n"
      "model\n{}\nspeculation\n{}\nearly exit\n{}",
      help_plain(prompt_options(a)), help_plain(text_options(a.text)), help_plain(model_options(a)),
      help_plain(speculation_options(a.speculation)), help_plain(exit_options(a.model.exit, true)));
}

GenerateArguments parse_generate(std::span<const std::string> args, int world_size) {
  GenerateArguments a;
  std::vector<PlainOption> options = prompt_options(a);
  for (const auto& more : {text_options(a.text), model_options(a), speculation_options(a.speculation),
                           exit_options(a.model.exit, true)})
    options.insert(options.end(), more.begin(), more.end());
  std::vector<std::string> errors;
  std::vector<std::string> words = parse_plain_arguments("generate", options, args, errors);
  if (words.empty()) {
    errors.emplace_back("generate needs a MODEL: a run directory, a checkpoint, or a published model's file");
  } else {
    a.model.path = words.front();
    a.prompts.assign(words.begin() + 1, words.end());
    const auto more = errors_of(a);
    errors.insert(errors.end(), more.begin(), more.end());
  }
  complete(a.model, world_size, errors);
  if (!errors.empty()) throw_errors(errors, "generate");
  return a;
}

/// Until the first token there is nothing to finish.
EndAtStart end_before_texts(int rank) {
  return [rank](int signal) {
    if (rank == 0)
      fmt::print(stderr, "\ntrireme: error: ended by {} before the first token\n", signal_name(signal));
    std::fflush(nullptr);
    MpiEnvironment::abort(exit_code_of_signal(signal));
  };
}

}  // namespace

void run_generate(std::span<const std::string> args, const RankPlace& place) {
  if (asks_for_help(args)) {
    if (place.rank == 0) fmt::print("{}", generate_help());
    return;
  }
  const GenerateArguments arguments = [&] {
    GenerateArguments a = parse_generate(args, place.world_size);
    // People may think as long as they like.
    if (a.is_chat) a.model.run.hang_limit = watch::HangLimits::all(0);
    begin_within_limit(a.model);
    return a;
  }();
  const RunOptions& run = arguments.model.run;
  const StopRequest stop(place.rank, end_before_texts(place.rank));
  const Fact facts[] = {{"arguments", fmt::format("generate {}", fmt::join(args, " ")), ""}};
  const RankWorld ranks = make_world(run, place, facts);
  const int local_ranks = place.mpi != nullptr ? place.mpi->local_size() : 1;
  Context ctx(ranks.device, threads_of(run, local_ranks), choose_op_settings(run, ranks.device));
  ctx.set_recorder(ranks.recorder.get());
  generate(ctx, *ranks.world, arguments, local_ranks, stdout);
}

}  // namespace trireme::launch

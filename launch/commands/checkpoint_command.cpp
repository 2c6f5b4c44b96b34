#include <algorithm>
#include <cstdio>
#include <functional>
#include <optional>
#include <type_traits>
#include <vector>

#include <fmt/ranges.h>

#include "launch/checkpoint/checkpoint_tools.h"
#include "launch/cli/help_text.h"
#include "launch/cli/options/nearest_name.h"
#include "launch/cli/plain_arguments.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/commands.h"
#include "launch/export/export_model.h"
#include "launch/preflight/thread_advice.h"
#include "parallel/checkpoint/weights/whole_tensors.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

using Paths = std::vector<std::string>;

struct CheckpointAction {
  std::string name, arguments, help;
  size_t num_arguments;
  std::function<void(const Paths&)> run;
  std::vector<PlainOption> options = {};
};

template <class Choice>
std::function<std::string(const std::string&)> choice_into(Choice& field, std::vector<std::string> names) {
  return [&field, names = std::move(names)](const std::string& text) -> std::string {
    const auto found = std::ranges::find(names, text);
    if (found == names.end()) return fmt::format("{}", fmt::join(names, ", "));
    if constexpr (std::is_same_v<Choice, bool>) {
      field = found != names.begin();
    } else {
      field = static_cast<typename Choice::value_type>(found - names.begin());
    }
    return "";
  };
}

/// Of export.
std::vector<PlainOption> export_options(ExportOptions& into) {
  return {
      {"format", "NAME",
       "trireme: one file as a run's model.safetensors; hf: a directory that Hugging Face's transformers "
       "loads; "
       "gguf: a file that llama.cpp loads; compressed-tensors, gptq, awq: such a directory with quantized "
       "matrices, as vLLM and transformers load it",
       "trireme where OUT ends with .safetensors, gguf with .gguf, else hf",
       choice_into(into.format, {"trireme", "hf", "gguf", "compressed-tensors", "gptq", "awq"})},
      {"bits", "4|8", "bits of a matrix' numbers, rounded to nearest; of a quantized PATH its codes are kept",
       "4",
       [&into](const std::string& text) -> std::string {
         if (text != "4" && text != "8") return "4, 8";
         into.rounding.bits = text == "4" ? 4 : 8;
         return "";
       }},
      {"group", "N", "inputs that share a scale; 0: all of an output", "128",
       [&into](const std::string& text) -> std::string {
         if (text != "0" && text != "32" && text != "64" && text != "128") return "0, 32, 64, 128";
         into.rounding.group = std::stoll(text);
         return "";
       }},
      {"symmetric", "on|off", "numbers around zero, without zero points", "on",
       [&into](const std::string& text) -> std::string {
         if (text != "on" && text != "off") return "on, off";
         into.rounding.symmetric = text == "on";
         return "";
       }},
      {"dtype", "TYPE",
       "fp32, bf16, fp16 or (gguf) q8_0, q4_0, q4_k_m; gguf keeps vectors, routers and position tables in "
       "fp32, as llama.cpp's converter does; q4_k_m is its mixture of 4 and 6 bits; codes of quantized "
       "weights stay as they are where the type holds them",
       "fp32",
       [&into](const std::string& text) {
         std::optional<ExportType> type;
         const std::string wrong =
             choice_into(type, {"fp32", "bf16", "fp16", "q8_0", "q4_0", "q4_k_m"})(text);
         into.type = type.value_or(into.type);
         into.has_type = true;
         return wrong;
       }},
      {"source", "DIR",
       "directory of the tokenizer, config.json, license and the like that go with the model; unknown keys "
       "of "
       "its config.json are kept",
       "the run's source/, from where training began", text_into(into.source)},
      {"shard-size", "BYTES", "most bytes of a file of weights (hf)", fmt::to_string(kDefaultShardBytes),
       whole_into(into.shard_bytes, 1, int64_t{1} << 50)},
      {"check", "on|off",
       "read the export back, compute logits of drawn tokens with it and with the checkpoint (rounded to "
       "TYPE), on "
       "one rank in fp32, one model after the other; keep it only if they are within 1e-6 (gguf: 1e-5) of "
       "the largest",
       "on", choice_into(into.check, {"off", "on"})},
  };
}

std::vector<CheckpointAction> checkpoint_actions(ExportOptions& exported) {
  return {
      {"ls", "PATH", "list the checkpoints of a run or directory", 1,
       [](const Paths& paths) { list_checkpoints(paths[0], stdout); }},
      {"verify", "PATH", "read all files and check every hash; exit code 4 if anything is damaged", 1,
       [](const Paths& paths) { verify_checkpoints(paths[0], stdout); }},
      {"show", "PATH", "show state, options and tensors of the newest checkpoint", 1,
       [](const Paths& paths) { show_checkpoint(paths[0], stdout); }},
      {"diff", "PATH PATH",
       "compare two checkpoints tensor by tensor; exit code 4 if their states "
       "differ",
       2,
       [](const Paths& paths) {
         if (!diff_checkpoints(paths[0], paths[1], stdout))
           throw_user(ExitCode::checkpoint, "{} and {} are not the same state", paths[0], paths[1]);
       }},
      {"export", "PATH OUT",
       "write the weights alone: in the format of a run's model.safetensors, of Hugging Face's transformers, "
       "or of "
       "llama.cpp; PATH may also be a run directory that has weights and no checkpoint",
       2,
       [&exported](const Paths& paths) {
         exported.path = paths[0];
         exported.out = paths[1];
         exported.num_threads = default_threads(cores_given(), 1);
         export_model(exported, stdout);
       },
       export_options(exported)},
      {"consolidate", "PATH DIR", "write the same state as saved by one rank, as DIR/step-N", 2,
       [](const Paths& paths) {
         fmt::print("{}\n", consolidate(WholeTensors(find_checkpoints(paths[0]).front()), paths[1]));
       }},
  };
}

std::string checkpoint_help(const std::vector<CheckpointAction>& all) {
  std::vector<HelpLine> lines;
  for (const CheckpointAction& action : all)
    lines.emplace_back(fmt::format("{} {}", action.name, action.arguments), action.help);
  std::string options;
  for (const CheckpointAction& action : all) {
    if (!action.options.empty())
      options += fmt::format("\noptions of {}\n{}", action.name, help_plain(action.options));
  }
  return fmt::format(
      "usage: trireme checkpoint ACTION PATH... [options]\n\n"
      "  trireme checkpoint verify runs/gpt2-3m-bible\n"
      "  trireme checkpoint export runs/gpt2-3m-bible/checkpoints/step-00001000 "
      "weights.safetensors\n"
      "  trireme checkpoint export runs/llama my-model --dtype bf16\n"
      "  trireme checkpoint export runs/llama my-model.gguf --dtype q4_k_m\n\n"
      "PATH is a checkpoint, a run directory or a directory of checkpoints, of which the newest is "
      "used.\n\n"
      "{}{}",
      help_lines(lines), options);
}

}  // namespace

void run_checkpoint(std::span<const std::string> args, const RankPlace& place) {
  if (place.rank != 0) return;
  ExportOptions exported;
  const std::vector<CheckpointAction> all = checkpoint_actions(exported);
  if (args.empty() || asks_for_help(args)) {
    fmt::print("{}", checkpoint_help(all));
    return;
  }
  const auto action = std::ranges::find(all, args[0], &CheckpointAction::name);
  if (action == all.end()) {
    std::vector<std::string> names;
    for (const CheckpointAction& one : all) names.push_back(one.name);
    throw_usage("unknown action '{}' of trireme checkpoint{}; see trireme checkpoint --help", args[0],
                did_you_mean(args[0], names));
  }
  std::vector<std::string> errors;
  const Paths paths =
      parse_plain_arguments("checkpoint " + action->name, action->options, args.subspan(1), errors);
  if (errors.empty() && paths.size() != action->num_arguments)
    errors.push_back(fmt::format("trireme checkpoint {} takes {}", action->name, action->arguments));
  if (!errors.empty()) throw_errors(errors, "checkpoint");
  action->run(paths);
}

}  // namespace trireme::launch

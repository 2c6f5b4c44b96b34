#include "launch/compress/compress_options.h"

#include <algorithm>
#include <filesystem>
#include <iterator>

#include <fmt/ranges.h>

#include "launch/cli/help_text.h"
#include "launch/cli/plain_arguments.h"
#include "launch/cli/run_arguments.h"
#include "launch/compress/gates.h"
#include "launch/compress/recipe_keys.h"
#include "launch/compress/step_methods.h"

namespace trireme::launch {

namespace {

/// As the command line gives them.
struct GivenOptions {
  CompressArguments arguments;
  StepDraft draft;
  Gate gate;
  std::string recipe, exports;
};

std::vector<PlainOption> main_options(GivenOptions& given) {
  return {
      {"out", "DIR", "the directory of the result, which is not there yet", "needed",
       text_into(given.arguments.out)},
      {"recipe", "NAME|FILE",
       fmt::format(
           "{}, or a file of steps in a row (docs/compression.md); else the options below are one step",
           fmt::join(recipe_names(), ", ")),
       "int4, where no option of a step is given", text_into(given.recipe)},
      {"export", "FORMAT[:TYPE],...",
       "the result in other programs' formats too: compressed-tensors, gptq, awq, gguf:q8_0, gguf:q4_0, "
       "gguf:q4_k_m",
       "none", text_into(given.exports)},
      {"restart", "", "begin anew, whatever an interrupted attempt has left in DIR.partial", "",
       switch_into(given.arguments.restarts)},
  };
}

std::vector<PlainOption> measuring_options(MeasuringOptions& measuring) {
  return {
      {"eval.text", "FILE", "on what each step is measured: text, JSON lines with \"text\", or a token file",
       "the run's validation part, else held out of the calibration's", text_into(measuring.text)},
      {"eval.tokens", "N", "tokens of it, at most", "16384", whole_into(measuring.tokens, 2, 1 << 30)},
      {"eval.seq-len", "N", "tokens of a window, each without view of those before it",
       "that of the run's training, else 512", whole_into(measuring.seq_len, 1, int64_t{1} << 30)},
      {"eval.decode-tokens", "N", "tokens that are generated to measure the speed", "64, of large models 16",
       whole_into(measuring.decode_tokens, 1, 1 << 20)},
  };
}

/// Those that mean something here: how weights are held is the recipe's.
std::vector<PlainOption> rank_and_device_options(CompressArguments& arguments) {
  std::vector<PlainOption> options = inference_options(arguments.model);
  std::erase_if(options, [](const PlainOption& option) {
    constexpr const char* kNone[] = {"weights", "group",        "asymmetric", "activations",
                                     "cache",   "cache-tokens", "max-seq-len"};
    return std::ranges::any_of(kNone, [&](const char* name) { return option.name == name; });
  });
  const auto experts = std::ranges::find(options, "ep", &PlainOption::name);
  options.insert(std::next(experts), {"dp", "N", "replicas that divide the calibration among them", "1",
                                      whole_into(arguments.model.replicas, 1, 1 << 20)});
  return options;
}

std::vector<PlainOption> all_of(GivenOptions& given) {
  std::vector<PlainOption> all = main_options(given);
  for (const auto& more :
       {method_keys(given.draft), prune_keys(given.draft),
        calibration_keys(given.arguments.recipe.calibration), gate_keys(given.gate),
        measuring_options(given.arguments.measuring), rank_and_device_options(given.arguments)})
    all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::vector<RecipeStep> exports_of(const std::string& list, std::vector<std::string>& errors) {
  std::vector<RecipeStep> steps;
  for (size_t begin = 0; !list.empty() && begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    const std::string one = list.substr(begin, end - begin);
    begin = end + 1;
    StepDraft draft;
    draft.method = "export";
    draft.step.name = one;
    const size_t colon = one.find(':');
    const auto keys = recipe_only_keys(draft);
    const auto set = [&](const char* key, const std::string& text) {
      const std::string allowed = std::ranges::find(keys, key, &PlainOption::name)->set(text);
      if (!allowed.empty())
        errors.push_back(fmt::format("--export {}: '{}'; allowed: {}", one, text, allowed));
    };
    set("format", one.substr(0, colon));
    if (colon != std::string::npos) set("type", one.substr(colon + 1));
    if (errors.empty()) steps.push_back(finish(draft, fmt::format("--export {}: ", one), errors));
  }
  return steps;
}

Recipe recipe_of(const std::string& name) {
  const std::vector<std::string> names = recipe_names();
  if (std::ranges::find(names, name) != names.end()) return named_recipe(name);
  std::error_code ignored;
  if (std::filesystem::exists(name, ignored)) return read_recipe(name);
  named_recipe_text(name);  // says which there are
  return {};
}

/// The options of --calibration.* over the recipe's section.
Calibration with_given(const Calibration& of_recipe, std::span<const std::string> args) {
  Calibration calibration = of_recipe;
  std::vector<std::string> own, ignored;
  const std::vector<PlainOption> keys = calibration_keys(calibration);
  for (size_t i = 0; i < args.size(); ++i) {
    if (!args[i].starts_with("--calibration.")) continue;
    own.push_back(args[i]);
    const bool is_switch = args[i] == "--calibration.all-experts" || args[i].find('=') != std::string::npos;
    if (!is_switch && i + 1 < args.size()) own.push_back(args[i + 1]);
  }
  parse_plain_arguments("compress", keys, own, ignored);  // errors are known
  return calibration;
}

/// Limits of the command line are on results: the last step that makes the model, and the exports. What a
/// step on the way costs is won back, or made small, by those behind it.
void gate_results(Recipe& recipe, const Gate& gate) {
  const auto is_export = [](const RecipeStep& step) { return step.kind == StepKind::export_model; };
  for (size_t i = 0; i < recipe.steps.size(); ++i) {
    RecipeStep& step = recipe.steps[i];
    const bool is_last = i + 1 == recipe.steps.size() || is_export(recipe.steps[i + 1]);
    if (is_last || is_export(step)) step.gate = with(step.gate, gate);
  }
}

/// Steps from the options alone, or from the recipe that they name.
void take_recipe(GivenOptions& given, std::span<const std::string> args, std::vector<std::string>& errors) {
  Recipe& recipe = given.arguments.recipe;
  const bool is_single = !given.draft.method.empty() || !given.draft.given_keys().empty();
  if (!given.recipe.empty() && is_single)
    errors.emplace_back(
        "--recipe has all of a step; --method, --weights and the other options of a single step have no "
        "effect "
        "beside it");
  const auto other =
      std::ranges::find_if(kOtherMethods, [&](const OtherMethod& m) { return given.draft.method == m.name; });
  if (other != kOtherMethods.end() && other->is_of_recipes)
    errors.push_back(fmt::format("--method {} is for steps of a recipe, behind one that {}",
                                 given.draft.method,
                                 other->kind == StepKind::train ? "cuts, shares or prunes" : "quantizes"));
  if (!errors.empty()) return;
  if (is_single) {
    given.draft.step.name = given.draft.method.empty() ? "gptq" : given.draft.method;
    recipe.steps = {finish(given.draft, "--", errors)};
    recipe.name = given.draft.step.name;
  } else {
    recipe = recipe_of(given.recipe.empty() ? "int4" : given.recipe);
    recipe.calibration = with_given(recipe.calibration, args);
  }
  for (RecipeStep& step : exports_of(given.exports, errors)) recipe.steps.push_back(std::move(step));
  gate_results(recipe, given.gate);
  if (errors.empty()) errors = order_errors(recipe);
}

}  // namespace

std::string compress_help() {
  GivenOptions given;
  return fmt::format(
      "usage: trireme compress MODEL --out DIR [--recipe NAME|FILE] [options]\n"
      "       trireme compress MODEL --out DIR --method NAME --weights NAME [options]\n"
      "       mpirun -n RANKS trireme compress MODEL --out DIR ... --tp N --pp N --dp N [options]\n\n"
      "  trireme compress runs/mine --out small\n"
      "  trireme compress SmolLM2-135M --out small --recipe edge --calibration.text book.txt\n"
      "  trireme compress runs/mine --out small --method awq --weights int4 --gate.perplexity +2%\n"
      "  trireme compress runs/mine --out small --recipe small --gate.perplexity +5% --gate.size 1/8\n\n"
      "Makes MODEL (a run directory, a checkpoint, a directory of transformers, a GGUF file) small, step by\n"
      "step, and says what each step costs (docs/compression.md). A step that exceeds a gate ends the chain\n"
      "with exit code 8. DIR appears when all is done and read back; until then all is in DIR.partial, from\n"
      "which the same command goes on.\n\n{}\none step\n{}\nprune, cut or share, in one "
      "step\n{}\ncalibration\n{}\ngates of the result, beside MODEL\n{}\n"
      "measuring\n{}\nmodel\n{}",
      help_plain(main_options(given)), help_plain(method_keys(given.draft)),
      help_plain(prune_keys(given.draft)), help_plain(calibration_keys(given.arguments.recipe.calibration)),
      help_plain(gate_keys(given.gate)), help_plain(measuring_options(given.arguments.measuring)),
      help_plain(rank_and_device_options(given.arguments)));
}

CompressArguments parse_compress(std::span<const std::string> args, int world_size) {
  GivenOptions given;
  std::vector<std::string> errors;
  const std::vector<std::string> words = parse_plain_arguments("compress", all_of(given), args, errors);
  if (words.size() == 1) {
    given.arguments.model.path = words.front();
  } else {
    errors.push_back(fmt::format("compress takes one MODEL, given {}", words.size()));
  }
  if (given.arguments.out.empty()) errors.emplace_back("--out DIR is missing: where the result is to be");
  complete(given.arguments.model, world_size, errors);
  take_recipe(given, args, errors);
  if (!errors.empty()) throw_errors(errors, "compress");
  return std::move(given.arguments);
}

}  // namespace trireme::launch

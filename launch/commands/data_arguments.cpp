// The arguments of `trireme data`; data_command.h does the work.
#include <algorithm>

#include <fmt/format.h>

#include "launch/cli/help_text.h"
#include "launch/cli/options/nearest_name.h"
#include "launch/cli/options/option_values.h"
#include "launch/cli/plain_arguments.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/commands.h"
#include "launch/commands/data_command.h"
#include "runtime/base/error.h"
#include "runtime/data/tokenizer_kind.h"
#include "runtime/device/cpu/cpu_device.h"

namespace trireme::launch {

namespace {

using option_values::parse_number;

std::vector<PlainOption> build_options(DataBuildOptions& o) {
  const auto fraction = [&o](const std::string& text) -> std::string {
    const auto number = parse_number<double>(text);
    if (!number || !(*number >= 0 && *number < 1)) return "a number from 0 up to, not including, 1";
    o.validation_fraction = *number;
    return "";
  };
  const auto format = [&o](const std::string& text) -> std::string {
    for (const auto known : {TextFormat::automatic, TextFormat::plain, TextFormat::json_lines}) {
      if (to_string(known) != text) continue;
      o.input.format = known;
      return "";
    }
    return "one of auto, text, jsonl";
  };
  return {
      {"out", "DIR", "output directory of tokenizer.json, train.tok and validation.tok", "required",
       text_into(o.out_dir)},
      {"tokenizer", "byte|char|bpe|PATH",
       "tokenizer; bpe is trained on the files; PATH: a tokenizer "
       "file",
       o.tokenizer, text_into(o.tokenizer)},
      {"format", "auto|text|jsonl", "format of the files; auto: detect it from the content of each", "auto",
       format},
      {"end-of-text", "TOKEN", "end-of-document token of a tokenizer file", "detected by name",
       text_into(o.end_of_text)},
      {"bpe-vocab", "N", "vocabulary size of the BPE tokenizer trained here", fmt::to_string(o.bpe_vocab),
       whole_into(o.bpe_vocab, 257, 1 << 24)},
      {"valid-fraction", "X", "hold out this fraction of the text, at its end, for validation; 0: none",
       fmt::to_string(o.validation_fraction), fraction},
      {"json-field", "NAME", "field of a JSONL object that holds the text", o.input.json_field,
       text_into(o.input.json_field)},
      {"threads", "N", "threads to tokenize with", "all cores", whole_into(o.num_threads, 1, 4096)},
  };
}

std::vector<PlainOption> inspect_options(DataInspectOptions& o) {
  const auto format = [&o](const std::string& text) -> std::string {
    for (const auto known : {TokenFormat::automatic, TokenFormat::trireme, TokenFormat::llmc,
                             TokenFormat::nanogpt, TokenFormat::megatron}) {
      if (to_string(known) != text) continue;
      o.format = known;
      return "";
    }
    return "one of auto, trireme, llmc, nanogpt, megatron";
  };
  return {
      {"format", "NAME", "format of the file: auto, trireme, llmc, nanogpt, megatron", "auto", format},
      {"tokenizer", "byte|PATH", "tokenizer to check the ids with and to show the first tokens as text",
       "none", text_into(o.tokenizer)},
      {"show", "N", "number of tokens to show", fmt::to_string(o.show_tokens),
       whole_into(o.show_tokens, 0, 1 << 20)},
  };
}

std::string data_help() {
  DataBuildOptions build;
  DataInspectOptions inspect;
  return fmt::format(
      "usage: trireme data build FILE... --out DIR [options]    tokenize text or JSONL files\n"
      "       trireme data inspect FILE [options]               check a token file and show its "
      "content\n\n"
      "  trireme data build bible.txt --out data/bible --tokenizer bpe --bpe-vocab 4096\n"
      "  trireme train --data.tokens data/bible/train.tok --data.valid-tokens "
      "data/bible/validation.tok \\\n"
      "                --data.tokenizer data/bible/tokenizer.json\n\nbuild\n{}\ninspect\n"
      "{}",
      help_plain(build_options(build)), help_plain(inspect_options(inspect)));
}

void build(std::span<const std::string> args) {
  DataBuildOptions options;
  options.num_threads = cpu::num_available_cores();
  std::vector<std::string> errors;
  options.input.files = parse_plain_arguments("data build", build_options(options), args, errors);
  if (options.input.files.empty()) errors.emplace_back("nothing to tokenize: name a text or JSONL FILE");
  if (options.out_dir.empty()) errors.emplace_back("--out DIR is missing: where the token files go");
  const bool has_vocab =
      std::ranges::any_of(args, [](const auto& arg) { return arg.starts_with("--bpe-vocab"); });
  if (has_vocab && tokenizer_kind(options.tokenizer) != TokenizerKind::bpe) {
    errors.push_back(
        fmt::format("--bpe-vocab has no effect with --tokenizer {}: it belongs to bpe", options.tokenizer));
  }
  if (!errors.empty()) throw_errors(errors, "data");
  run_data_build(options, stdout);
}

void inspect(std::span<const std::string> args) {
  DataInspectOptions options;
  std::vector<std::string> errors;
  const auto files = parse_plain_arguments("data inspect", inspect_options(options), args, errors);
  if (files.size() != 1)
    errors.push_back(fmt::format("trireme data inspect takes one token FILE, given {}", files.size()));
  if (!errors.empty()) throw_errors(errors, "data");
  options.file = files.front();
  run_data_inspect(options, stdout);
}

}  // namespace

void run_data(std::span<const std::string> args, const RankPlace& place) {
  if (place.rank != 0) return;
  const std::vector<std::string> names = {"build", "inspect"};
  if (args.empty() || asks_for_help(args)) {
    fmt::print("{}", data_help());
  } else if (args[0] == "build") {
    build(args.subspan(1));
  } else if (args[0] == "inspect") {
    inspect(args.subspan(1));
  } else {
    throw_usage("unknown action '{}' of trireme data{}; there are build and inspect", args[0],
                did_you_mean(args[0], names));
  }
}

}  // namespace trireme::launch

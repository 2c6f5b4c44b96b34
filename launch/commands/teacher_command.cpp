// trireme teacher: from arguments to launch/teacher.
#include <algorithm>
#include <cstdio>
#include <iterator>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/cli/help_text.h"
#include "launch/cli/options/option_table.h"
#include "launch/cli/plain_arguments.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/commands.h"
#include "launch/commands/rank_world.h"
#include "launch/config/attention_choice.h"
#include "launch/process/stop_request.h"
#include "launch/teacher/write_teacher.h"
#include "runtime/comm/mpi/mpi_environment.h"
#include "runtime/ops/training/few_tokens.h"

namespace trireme::launch {

namespace {

/// What is done already is kept, and the same command goes on.
EndAtStart end_before_teacher(int rank) {
  return [rank](int signal) {
    if (rank == 0)
      fmt::print(stderr, "\ntrireme: ended by {} before the first pass; run it again to go on\n",
                 signal_name(signal));
    std::fflush(nullptr);
    MpiEnvironment::abort(ExitCode::resumable);
  };
}

std::function<std::string(const std::string&)> tokens_into(TeacherArguments& a) {
  return [&a](const std::string& text) -> std::string {
    const size_t colon = text.find(':');
    const std::string kind = text.substr(0, colon);
    const auto number = colon == std::string::npos
                            ? std::nullopt
                            : option_values::parse_number<int64_t>(text.substr(colon + 1));
    if ((kind != "top-k" && kind != "sample") || !number || *number < 1 || *number > ops::kMostFewTokens)
      return fmt::format("top-k:N or sample:N, N from 1 to {}", ops::kMostFewTokens);
    a.kind = kind == "top-k" ? TeacherTokens::top_k : TeacherTokens::sampled;
    a.num_tokens = *number;
    return "";
  };
}

std::vector<PlainOption> file_options(TeacherArguments& a) {
  return {
      {"out", "DIR", "the directory of the files, which is not there yet", "needed", text_into(a.out)},
      {"tokens", "top-k:N|sample:N",
       "what is kept of each row: the N likeliest tokens, or N draws, which estimate the whole distribution "
       "without bias",
       "top-k:64", tokens_into(a)},
      {"temperature", "X",
       "of the teacher's distribution; the student's distill.temperature has to be the same", "1",
       [&a](const std::string& text) -> std::string {
         const auto number = option_values::parse_number<double>(text);
         if (!number || !(*number >= 0.01 && *number <= 100)) return "a number from 0.01 to 100";
         a.temperature = *number;
         return "";
       }},
      {"draw-seed", "N", "seed of draws", "train.seed", whole_into(a.draw_seed, 0, INT64_MAX)},
      {"samples", "N",
       "the first samples of the training's order; a training reads train.steps * train.global-batch of them",
       "an epoch", whole_into(a.samples, 1, int64_t{1} << 40)},
      {"shard-tokens", "N", "tokens of a file, which one replica writes and an interruption may cost",
       "65536", whole_into(a.shard_tokens, 1, int64_t{1} << 30)},
      {"restart", "", "begin anew, whatever an interrupted attempt has left in DIR.partial", "",
       switch_into(a.restarts)},
  };
}

/// As trireme train has them: the student's have to be the same.
std::vector<PlainOption> training_options(TeacherArguments& a) {
  constexpr std::string_view kKeys[] = {"data", "train.seq-len", "train.seed", "train.micro-batch"};
  std::vector<PlainOption> options;
  for (const Option& option : select_options(all_options(), kKeys)) {
    if (option.key() == "data.prefetch") continue;
    std::string shown = option.shown_default.empty() ? option.value.get(a.run) : option.shown_default;
    if (option.key() == "train.seq-len") shown = "that of the teacher's training, or its longest";
    options.push_back({option.key(), option.value.placeholder, option.help, shown,
                       [&a, set = option.value.set](const std::string& text) { return set(a.run, text); }});
  }
  return options;
}

std::vector<PlainOption> teacher_model_options(TeacherArguments& a) {
  std::vector<PlainOption> options = inference_options(a.model);
  std::erase_if(options, [](const PlainOption& option) {
    constexpr const char* kNone[] = {"cache", "cache-tokens", "max-seq-len", "batch-tokens", "tokenizer"};
    return std::ranges::any_of(kNone, [&](const char* name) { return option.name == name; });
  });
  const auto experts = std::ranges::find(options, "ep", &PlainOption::name);
  options.insert(std::next(experts), {"dp", "N", "replicas, each of which writes files of its own", "1",
                                      whole_into(a.model.replicas, 1, 1 << 20)});
  return options;
}

std::string teacher_help() {
  TeacherArguments a;
  return fmt::format(
      "usage: trireme teacher MODEL --out DIR --data.text FILE|--data.tokens FILE [options]\n"
      "       mpirun -n RANKS trireme teacher MODEL --out DIR ... --tp N --pp N --dp N [options]\n\n"
      "  trireme teacher runs/large --out said --data.tokens train.tok --tokens sample:50\n"
      "  trireme train --distill.teacher said --data.tokens train.tok ...\n\n"
      "Writes what MODEL (a run directory, a checkpoint, a directory of transformers, a GGUF file) says of "
      "the\n"
      "samples of a training, a few tokens for each of theirs, to distil students from without it\n"
      "(docs/teacher-files.md). DIR appears when all is there; until then it is in DIR.partial, from which "
      "the\n"
      "same command goes on.\n\n{}\ntraining, as of trireme train\n{}\nmodel\n{}",
      help_plain(file_options(a)), help_plain(training_options(a)), help_plain(teacher_model_options(a)));
}

TeacherArguments parse_teacher(std::span<const std::string> args, int world_size) {
  TeacherArguments a;
  std::vector<PlainOption> options = file_options(a);
  for (const auto& more : {training_options(a), teacher_model_options(a)})
    options.insert(options.end(), more.begin(), more.end());
  std::vector<std::string> errors;
  const std::vector<std::string> words = parse_plain_arguments("teacher", options, args, errors);
  if (words.size() == 1)
    a.model.path = words.front();
  else
    errors.push_back(fmt::format("teacher takes one MODEL, given {}", words.size()));
  std::ranges::move(errors_of(a), std::back_inserter(errors));
  complete(a.model, world_size, errors);
  if (!errors.empty()) throw_errors(errors, "teacher");
  return a;
}

}  // namespace

void run_teacher(std::span<const std::string> args, const RankPlace& place) {
  if (asks_for_help(args)) {
    if (place.rank == 0) fmt::print("{}", teacher_help());
    return;
  }
  const TeacherArguments arguments = parse_teacher(args, place.world_size);
  const RunOptions& run = arguments.model.run;
  const StopRequest stop(place.rank, end_before_teacher(place.rank));
  const Fact facts[] = {{"arguments", fmt::format("teacher {}", fmt::join(args, " ")), ""}};
  const RankWorld ranks = make_world(run, place, facts);
  const int local_ranks = place.mpi != nullptr ? place.mpi->local_size() : 1;
  Context ctx(ranks.device, threads_of(run, local_ranks), choose_op_settings(run, ranks.device));
  ctx.set_recorder(ranks.recorder.get());
  write_teacher(ctx, *ranks.world, arguments, stdout);
}

}  // namespace trireme::launch

#include "launch/generate/generate.h"

#include <algorithm>

#include "launch/generate/conversation.h"
#include "launch/generate/inputs.h"
#include "launch/generate/memory_limit.h"
#include "launch/generate/text_generator.h"
#include "launch/process/stop_request.h"
#include "launch/report/visible_text.h"
#include "runtime/base/error.h"
#include "runtime/comm/agreed_end.h"
#include "runtime/comm/record/recorder.h"

namespace trireme::launch {

namespace {

/// Prints answers in their order: of a single one each piece as it comes.
class AnswerPrinter {
 public:
  AnswerPrinter(const GenerateArguments& arguments, const std::vector<Answer>& answers, std::FILE* out)
      : arguments_(arguments), answers_(answers), out_(out) {}

  void piece(const std::string& text) {
    if (is_streamed()) print(shown(text, out_));
    while (next_ < answers_.size() && answers_[next_].is_over()) print_next();
  }
  /// Those that did not end, as far as they are.
  void finish() {
    for (; next_ < answers_.size();) {
      if (answers_[next_].is_over() || answers_[next_].num_tokens() > 0) {
        print_next();
      } else {
        ++next_;
      }
    }
  }

 private:
  bool is_streamed() const { return answers_.size() == 1 && !arguments_.is_json; }

  void print_next() {
    const Answer& answer = answers_[next_++];
    if (arguments_.is_json) return print(line_of(answer.json(arguments_.has_logprobs)));
    if (is_streamed()) return print("\n");
    constexpr size_t kShown = 72;
    const Prompt& prompt = answer.request().prompt;
    std::string title = prompt.text.empty() ? prompt.where : prompt.text;
    if (title.size() > kShown) title = visible(title.substr(0, kShown)) + "...";
    print(fmt::format("[{}] {}\n{}\n\n", next_, visible(title), shown(answer.text(), out_)));
  }

  void print(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), out_);
    std::fflush(out_);
  }

  const GenerateArguments& arguments_;
  const std::vector<Answer>& answers_;
  std::FILE* out_;
  size_t next_ = 0;
};

void generate_texts(const GenerateArguments& arguments, GenerationInputs& inputs,
                    const SharedRequests& shared, TextGenerator& generator, std::FILE* out) {
  std::vector<Answer> answers;  // on rank 0
  for (TextRequest& request : inputs.requests)
    answers.emplace_back(std::move(request), inputs.tokenizer.get());
  AnswerPrinter printer(arguments, answers, out);
  const int64_t signal = generator.run(
      shared.requests, answers,
      [out] { return std::ferror(out) != 0 ? kOutputLost : int64_t{StopRequest::signal()}; },
      [&](size_t, const std::string& piece) { printer.piece(piece); });
  printer.finish();
  if (signal == 0 || signal == kOutputLost) return;  // that it is lost is said at the end of the program
  throw AgreedEnd(
      exit_code_of_signal(static_cast<int>(signal)),
      fmt::format("ended by {} before all texts were complete", signal_name(static_cast<int>(signal))));
}

/// Before the weights are read, passes and cache of `arguments` become those of the plan, which is to be read
/// later.
void keep_generation_limit(Context& ctx, const GenerationInputs& inputs, GenerateArguments& arguments,
                           MemoryPlan& plan) {
  arguments.model.model.before_loading = [&](const ModelSpec& model, const LoadForecast& forecast) {
    InferenceArguments& of = arguments.model;
    const TextLengths lengths = lengths_of(arguments, inputs);
    const int64_t block = CacheOptions().block_tokens;
    MemoryDemand demand;
    cpu::return_unused_memory();
    demand.process = cpu::process_memory();
    demand.load = forecast;
    demand.block_bytes = cache_block_bytes(model, block, of.model.compute_type, of.cache);
    // A block more: what two texts share is copied before one writes on.
    demand.least_tokens = of.cache_tokens > 0 ? of.cache_tokens : lengths.least + block;
    demand.cache_tokens = of.cache_tokens > 0
                              ? of.cache_tokens
                              : default_cache_tokens(lengths.all, lengths.least, inputs.files.config, of, 0);
    demand.longest = *std::ranges::max_element(lengths.all);
    demand.batch_tokens = of.batch_tokens;
    demand.sequences = std::min(of.max_sequences, std::ssize(lengths.all));
    demand.threads = ctx.num_threads();
    plan = plan_memory(of.memory_limit, model, of, demand);
    of.batch_tokens = plan.batch_tokens;
    of.max_sequences = plan.sequences;
    of.cache_tokens = plan.cache_tokens;
  };
}

void report(const GenerateArguments& arguments, const TextGenerator& generator, const MemoryPlan& plan,
            std::FILE* out) {
  const int64_t peak = cpu::process_memory().peak;
  if (arguments.is_json) {
    nlohmann::ordered_json json;
    json["summary"] = generator.figures();
    json["summary"]["peak_memory_bytes"] = peak;
    if (plan.limit > 0) json["summary"]["memory_limit_bytes"] = plan.limit;
    const std::string line = line_of(json);
    std::fwrite(line.data(), 1, line.size(), out);
  }
  if (arguments.is_quiet) return;
  fmt::print(stderr, "{}\n", generator.summary());
  if (plan.limit > 0) {
    fmt::print(stderr, "memory: {} at the most, of {} predicted and {} allowed ({})\n", mib(peak),
               mib(plan.total()), mib(plan.limit), parts_text(plan));
  }
}

}  // namespace

std::vector<std::string> errors_of(const GenerateArguments& a) {
  std::vector<std::string> errors = errors_of(a.text);
  for (std::string& error : errors_of(a.speculation)) errors.push_back(std::move(error));
  for (std::string& error : errors_of(a.model.exit, a.speculation.is_self(), a.model.model.plan.pipeline))
    errors.push_back(std::move(error));
  const int num_sources = (a.is_chat ? 1 : 0) + (a.prompt_file.empty() ? 0 : 1) + (a.prompts.empty() ? 0 : 1);
  if (num_sources == 0)
    errors.emplace_back("nothing to generate from: give a PROMPT, --prompts FILE, or --chat");
  if (num_sources > 1)
    errors.emplace_back(
        "PROMPT, --prompts FILE and --chat (messages from standard input) are three ways to give prompts: "
        "use "
        "one");
  if (a.is_chat && a.applies_template)
    errors.emplace_back("--apply-template has no effect with --chat, which always does");
  if (!a.system.empty() && !a.is_chat && !a.applies_template)
    errors.emplace_back("--system has no effect without --chat or --apply-template");
  if (a.model.memory_limit > 0 && !a.speculation.draft_model.empty())
    errors.emplace_back(
        "--memory-limit with --draft-model: a second model is not counted; leave one of them out");
  if (a.has_logprobs && !a.is_json) errors.emplace_back("--logprobs has no effect without --json");
  return errors;
}

void generate(Context& ctx, Communicator& world, const GenerateArguments& given, int local_ranks,
              std::FILE* out) {
  GenerateArguments arguments = given;
  GenerationInputs inputs = read_inputs(world, arguments);
  const SharedRequests shared = shared_of(world, inputs);
  MemoryPlan plan;
  if (given.model.memory_limit > 0) keep_generation_limit(ctx, inputs, arguments, plan);
  TextGenerator generator(
      ctx, world, inputs.files, arguments.model,
      [&] { return cache_tokens_of(arguments, inputs, ctx.device(), local_ranks); }, shared.vocab_size,
      arguments.speculation);
  if (plan.limit > 0) cpu::return_unused_memory();  // what reading took
  if (world.rank() == 0 && !arguments.is_quiet) {
    for (const std::string& line :
         exit_warnings(inputs.files.config, arguments.model.exit, arguments.speculation.is_self()))
      fmt::print(stderr, "{}\n", line);
  }
  inputs.rules.max_seq_len = std::min(inputs.rules.max_seq_len, generator.longest_text());
  StopRequest::defer();
  const ScopedPhase phase(ctx.recorder(), Phase::sample);
  if (arguments.is_chat) {
    converse(world, arguments, inputs, generator, out);
  } else {
    generate_texts(arguments, inputs, shared, generator, out);
  }
  if (world.rank() == 0) report(arguments, generator, plan, out);
}

}  // namespace trireme::launch

#include "launch/commands/bench_generation.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "launch/bench/generation/drawn_weights.h"
#include "launch/bench/generation/generation_bench.h"
#include "launch/cli/help_text.h"
#include "launch/cli/options/nearest_name.h"
#include "launch/cli/plain_arguments.h"
#include "launch/cli/plain_choices.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/rank_world.h"
#include "launch/config/attention_choice.h"
#include "launch/generate/inference_arguments.h"
#include "launch/generate/memory_limit.h"
#include "launch/generate/model_files.h"
#include "launch/preflight/choose_device.h"
#include "launch/process/build_info.h"
#include "launch/report/number_text.h"
#include "models/families/presets.h"
#include "models/formats/open_weights.h"
#include "runtime/base/error.h"
#include "runtime/comm/mpi/mpi_environment.h"
#include "runtime/io/files/atomic_file.h"
#include "runtime/profile/device_rates.h"
#include "runtime/profile/read_rate.h"

namespace trireme::launch {

namespace {

struct GenerateBench {
  InferenceArguments model;  ///< without a path: a drawn one
  GenerationBenchOptions options;
  std::string preset;                         ///< of a drawn model
  std::optional<ops::PackedFormat> drawn_as;  ///< its blocks, of ggml's formats
  std::string json;
};

constexpr const char* kDefaultPreset = "llama3-1b";

/// Also what files alone have, for a drawn model.
PlainOption weights_option(GenerateBench& b) {
  using ops::PackedFormat;
  static constexpr std::pair<const char*, PackedFormat> kFormats[] = {
      {"f32", PackedFormat::f32},   {"bf16", PackedFormat::bf16}, {"int8", PackedFormat::int8},
      {"int4", PackedFormat::int4}, {"fp8", PackedFormat::fp8},   {"q8_0", PackedFormat::q8_0},
      {"q4_0", PackedFormat::q4_0}, {"q4_1", PackedFormat::q4_1}, {"q4_k", PackedFormat::q4_k},
      {"q6_k", PackedFormat::q6_k}};
  std::string names = "as-stored";
  for (const auto& [name, unused] : kFormats) names += fmt::format(", {}", name);
  const auto set = [&b, names](const std::string& text) -> std::string {
    constexpr std::string_view kSparse = ":sparse";
    b.model.are_sparse = text.ends_with(kSparse);
    const std::string_view name =
        std::string_view(text).substr(0, text.size() - (b.model.are_sparse ? kSparse.size() : 0));
    const auto found =
        std::ranges::find(kFormats, name, [](const auto& known) { return std::string_view(known.first); });
    const bool is_known = found == std::end(kFormats)
                              ? text == "as-stored"
                              : !b.model.are_sparse || ops::can_be_sparse({found->second});
    if (!is_known) return fmt::format("one of {}, or f32:sparse, bf16:sparse, int8:sparse", names);
    b.model.weights.reset();
    b.drawn_as.reset();
    if (found == std::end(kFormats)) return "";
    const bool is_ours = !ops::is_integer(found->second) || found->second >= PackedFormat::int8;
    (is_ours ? b.model.weights : b.drawn_as) = found->second;
    return "";
  };
  return {"weights", "NAME",
          fmt::format("how matrices are held: {}; those of GGUF files for drawn models", names),
          "as-stored; drawn: q4_0", set};
}

std::vector<PlainOption> bench_options(GenerateBench& b) {
  GenerationBenchOptions& o = b.options;
  std::vector<PlainOption> options = {
      {"preset", "NAME", "without MODEL: the model to draw, a preset of trireme train", kDefaultPreset,
       text_into(b.preset)},
      {"prompt-tokens", "N", "tokens of a prompt", fmt::to_string(o.prompt_tokens),
       whole_into(o.prompt_tokens, 1, 1 << 24)},
      {"decode-tokens", "N", "tokens generated after it", fmt::to_string(o.decode_tokens),
       whole_into(o.decode_tokens, 1, 1 << 24)},
      {"batch", "N", "sequences at once", fmt::to_string(o.batch), whole_into(o.batch, 1, 1 << 16)},
      {"repeats", "N", "timed runs, after one that is not; the median counts", fmt::to_string(o.repeats),
       whole_into(o.repeats, 1, 1 << 16)},
      weights_option(b),
      {"json", "FILE", "also write the results as JSON", "none", text_into(b.json)},
  };
  for (PlainOption& option : inference_options(b.model)) {
    const bool is_other = option.name == "max-seq-len" || option.name == "cache-tokens" ||
                          option.name == "weights" || option.name == "tokenizer";
    if (!is_other) options.push_back(std::move(option));
  }
  options.push_back(memory_limit_option(b.model));
  return options;
}

void parse_generate_bench(std::span<const std::string> args, int world_size, GenerateBench& b) {
  std::vector<std::string> errors;
  const std::vector<std::string> words =
      parse_plain_arguments("bench generate", bench_options(b), args, errors);
  if (words.size() > 1)
    errors.push_back(fmt::format("bench generate takes one MODEL at most, given {}", words.size()));
  if (!words.empty()) b.model.path = words.front();
  if (!words.empty() && !b.preset.empty())
    errors.emplace_back("--preset has no effect with a MODEL: leave one of them out");
  if (words.empty() && b.model.are_sparse)
    errors.emplace_back("--weights with :sparse: drawn weights have no zeros; name a MODEL, or leave it out");
  if (!words.empty() && b.drawn_as)
    errors.push_back(
        fmt::format("--weights {}: a MODEL's weights become f32, bf16, int8, int4 or fp8, or stay as-stored",
                    ops::to_string(ops::PackedSpec{*b.drawn_as})));
  if (words.empty() && !b.drawn_as && !b.model.weights) b.drawn_as = ops::PackedFormat::q4_0;
  complete(b.model, world_size, errors);
  if (!errors.empty()) throw_errors(errors, "bench");
  b.options.batch_tokens = b.model.batch_tokens;
  b.options.cache = b.model.cache;
  b.model.model.max_seq_len = b.options.seq_len();
}

ModelConfig drawn_model(const std::string& name) {
  const Preset* preset = find_preset(name);
  if (preset == nullptr) {
    std::vector<std::string> names;
    for (const Preset& known : presets()) names.push_back(known.config.name);
    throw_usage("--preset {}: there is none of that name{}; trireme info lists them", name,
                did_you_mean(name, names));
  }
  ModelConfig config = preset->config;
  constexpr int64_t kVocab = 32000;
  if (config.vocab_size == 0) config.vocab_size = kVocab;
  return config;
}

/// The passes over prompts become as large as the limit allows; UserError (usage) where it allows none.
void keep_bench_limit(const Context& ctx, GenerateBench& b, MemoryPlan& plan, const ModelSpec& model,
                      const LoadForecast& forecast) {
  const CacheOptions cache = cache_for(b.options);
  MemoryDemand demand;
  cpu::return_unused_memory();
  demand.process = cpu::process_memory();
  demand.load = forecast;
  demand.block_bytes =
      cache_block_bytes(model, cache.block_tokens, b.model.model.compute_type, b.options.cache);
  demand.cache_tokens = demand.least_tokens = cache.num_blocks * cache.block_tokens;
  demand.longest = b.options.seq_len();
  demand.batch_tokens = b.options.batch_tokens;
  demand.sequences = demand.least_sequences = b.options.batch;
  demand.threads = ctx.num_threads();
  plan = plan_memory(b.model.memory_limit, model, b.model, demand);
  b.options.batch_tokens = plan.batch_tokens;
}

std::unique_ptr<InferenceModel> make_bench_model(Context& ctx, Communicator& world, GenerateBench& b,
                                                 MemoryPlan& plan) {
  InferenceOptions options = b.model.model;
  if (b.model.memory_limit > 0) {
    options.before_loading = [&](const ModelSpec& model, const LoadForecast& forecast) {
      keep_bench_limit(ctx, b, plan, model, forecast);
    };
  }
  if (!b.model.path.empty()) {
    const ModelFiles files = find_model_files(b.model.path, "byte");
    return std::make_unique<InferenceModel>(ctx, world, files.path, fitting(files.config, b.model), options);
  }
  const ModelConfig config = drawn_model(b.preset.empty() ? kDefaultPreset : b.preset);
  const DrawnWeights weights(config, b.drawn_as);
  return std::make_unique<InferenceModel>(ctx, world, weights, fitting(config, b.model), options);
}

/// What this rank can read a second, while the others of its host do the same.
double stream_rate(Context& ctx, Communicator& world) {
  world.barrier(ctx.host_stream());
  const bool is_on_cpu = ctx.device().type == DeviceType::cpu;
  double rate = is_on_cpu ? ops::measure_read_rate(ctx) : ops::measure_memory_rate(ctx);
  world.all_reduce(ctx.host_stream(), Tensor::borrow(&rate, {1}, DType::f64), ReduceOp::min);
  return rate;
}

/// Of the model's weights; of a folder all that lies in it. 0: drawn.
int64_t bytes_of_model_files(const std::string& path) {
  namespace fs = std::filesystem;
  if (path.empty()) return 0;
  std::error_code error;
  const std::string weights = find_weights(path).path;
  if (!fs::is_directory(weights, error)) return static_cast<int64_t>(fs::file_size(weights));
  int64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(weights)) {
    if (entry.is_regular_file(error)) bytes += static_cast<int64_t>(entry.file_size());
  }
  return bytes;
}

struct GenerateBenchResult {
  std::string model, device;
  int64_t weight_bytes = 0, cache_bytes = 0, file_bytes = 0, peak_bytes = 0;
  Percentiles prompt_token, decode_token;  // seconds
  MemoryPlan plan;                         // without a limit: none
  Spread prompt, decode;
  double stream = 0, step_bytes = 0;

  int64_t other_bytes() const { return std::max<int64_t>(0, peak_bytes - weight_bytes - cache_bytes); }
  /// Steps a second times bytes of a step, of the stream.
  double share(int64_t batch) const {
    return decode.median / static_cast<double>(batch) * step_bytes / stream;
  }
};

GenerateBenchResult run_generate_bench(Context& ctx, Communicator& world, GenerateBench& b) {
  GenerateBenchResult result;
  // What measures memory reads more of it than a limit may allow.
  const bool measures_stream = b.model.memory_limit == 0;
  if (measures_stream) result.stream = stream_rate(ctx, world);
  const auto model = make_bench_model(ctx, world, b, result.plan);
  check_formats(b.model, model->loaded());
  CachedModel cached(ctx, model->parallel(), model->model(), cache_for(b.options));
  if (b.model.memory_limit > 0) cpu::return_unused_memory();  // what reading took
  GenerationTimes times = time_generation(ctx, model->parallel(), cached, b.options);
  result.peak_bytes = cpu::process_memory().peak;
  // A machine's load comes and goes.
  if (measures_stream) result.stream = std::max(result.stream, stream_rate(ctx, world));
  result.prompt = rates_of(times.prompt_seconds, b.options.prompt_tokens * b.options.batch);
  result.decode = rates_of(times.decode_seconds, b.options.decode_tokens * b.options.batch);
  for (double& seconds : times.prompt_seconds)
    seconds /= static_cast<double>(b.options.prompt_tokens * b.options.batch);
  result.prompt_token = percentiles_of(times.prompt_seconds);
  result.decode_token = percentiles_of(times.step_seconds);
  result.cache_bytes = cached.options().num_blocks * cached.block_bytes();
  result.file_bytes = bytes_of_model_files(b.model.path);
  result.weight_bytes = model->loaded().weight_bytes;
  result.step_bytes = bytes_of_step(model->config(), result.weight_bytes, cached.block_bytes(), b.options);
  result.model =
      fmt::format("{}: {} of {}", b.model.path.empty() ? "drawn " + model->config().name : b.model.path,
                  short_bytes(static_cast<double>(result.weight_bytes)), model->loaded().formats);
  result.device = device_text(ctx.device());
  return result;
}

void print_generate_bench(const GenerateBenchResult& result, const GenerateBench& b, int num_threads,
                          int ranks) {
  const auto line = [](const char* what, int64_t tokens, const Spread& rate) {
    fmt::print("{:<8} {:>7} tokens  {:>10.1f} tokens/s  ({:.1f} to {:.1f})\n", what, tokens, rate.median,
               rate.least, rate.most);
  };
  fmt::print("# {}\n# {} rank(s) on {}, {} threads each\n# {} per rank; {} sequence(s) at once\n",
             build_line(), ranks, result.device, num_threads, result.model, b.options.batch);
  line("prompt", b.options.prompt_tokens, result.prompt);
  line("decode", b.options.decode_tokens, result.decode);
  const auto times = [](const char* what, const Percentiles& seconds) {
    fmt::print("{:<8} {:>10.3f} ms/token (median), {:.3f} (95 %)\n", what, 1e3 * seconds.median,
               1e3 * seconds.p95);
  };
  times("prompt", result.prompt_token);
  times("decode", result.decode_token);
  fmt::print("resident {} at the most: weights {}, cache {}, program and workspace {}\n",
             mib(result.peak_bytes), mib(result.weight_bytes), mib(result.cache_bytes),
             mib(result.other_bytes()));
  if (result.plan.limit > 0)
    fmt::print("limit    {}; predicted {} ({})\n", mib(result.plan.limit), mib(result.plan.total()),
               parts_text(result.plan));
  if (result.file_bytes > 0) fmt::print("file     {}\n", mib(result.file_bytes));
  if (result.stream == 0) return;
  fmt::print(
      "memory   {:.2f} GB read per step of decoding (weights, keys and values), {:.2f} GB/s; the stream's "
      "rate "
      "is {:.2f} GB/s: {:.0f} %\n",
      result.step_bytes * 1e-9, result.share(b.options.batch) * result.stream * 1e-9, result.stream * 1e-9,
      100 * result.share(b.options.batch));
}

nlohmann::ordered_json generate_bench_json(const GenerateBenchResult& result, const GenerateBench& b,
                                           int num_threads, int ranks) {
  const auto spread = [](const Spread& rate) {
    return nlohmann::ordered_json{{"median", rate.median}, {"least", rate.least}, {"most", rate.most}};
  };
  const auto milliseconds = [](const Percentiles& seconds) {
    return nlohmann::ordered_json{{"median", 1e3 * seconds.median}, {"p95", 1e3 * seconds.p95}};
  };
  nlohmann::ordered_json json = {{"model", result.model},
                                 {"device", result.device},
                                 {"ranks", ranks},
                                 {"threads", num_threads},
                                 {"batch", b.options.batch},
                                 {"prompt_tokens", b.options.prompt_tokens},
                                 {"decode_tokens", b.options.decode_tokens},
                                 {"prompt_tokens_per_second", spread(result.prompt)},
                                 {"decode_tokens_per_second", spread(result.decode)},
                                 {"prompt_milliseconds_per_token", milliseconds(result.prompt_token)},
                                 {"decode_milliseconds_per_token", milliseconds(result.decode_token)},
                                 {"weight_bytes", result.weight_bytes},
                                 {"cache_bytes", result.cache_bytes},
                                 {"other_bytes", result.other_bytes()},
                                 {"peak_memory_bytes", result.peak_bytes},
                                 {"step_bytes", result.step_bytes}};
  if (result.file_bytes > 0) json["file_bytes"] = result.file_bytes;
  if (result.plan.limit > 0) {
    json["memory_limit_bytes"] = result.plan.limit;
    json["predicted_memory_bytes"] = result.plan.total();
  }
  if (result.stream > 0) {
    json["stream_bytes_per_second"] = result.stream;
    json["share_of_stream"] = result.share(b.options.batch);
  }
  return json;
}

}  // namespace

std::string bench_generate_help() {
  GenerateBench b;
  return help_plain(bench_options(b));
}

void bench_generate(std::span<const std::string> args, const RankPlace& place) {
  GenerateBench b;
  parse_generate_bench(args, place.world_size, b);
  begin_within_limit(b.model);
  const Fact facts[] = {{"arguments", fmt::format("bench generate {}", fmt::join(args, " ")), ""}};
  const RankWorld ranks = make_world(b.model.run, place, facts);
  const int local_ranks = place.mpi != nullptr ? place.mpi->local_size() : 1;
  Context ctx(ranks.device, threads_of(b.model.run, local_ranks),
              choose_op_settings(b.model.run, ranks.device));
  const GenerateBenchResult result = run_generate_bench(ctx, *ranks.world, b);
  if (place.rank != 0) return;
  print_generate_bench(result, b, ctx.num_threads(), place.world_size);
  if (!b.json.empty())
    write_file_atomically(b.json,
                          generate_bench_json(result, b, ctx.num_threads(), place.world_size).dump(2) + "\n");
}

}  // namespace trireme::launch

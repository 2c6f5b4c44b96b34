#include "launch/generate/inference_arguments.h"

#include <functional>
#include <string_view>
#include <utility>

#include <fmt/ranges.h>

#include "launch/cli/plain_choices.h"
#include "launch/preflight/thread_advice.h"
#include "models/config/validate.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

constexpr int64_t kMostTokens = int64_t{1} << 40;
constexpr int kMostRanks = 1 << 20;

/// "bf16:sparse": the format, and that zeros are left out.
std::function<std::string(const std::string&)> weights_into(InferenceArguments& a) {
  using ops::PackedFormat;
  static constexpr std::pair<std::string_view, PackedFormat> kFormats[] = {{"f32", PackedFormat::f32},
                                                                           {"bf16", PackedFormat::bf16},
                                                                           {"int8", PackedFormat::int8},
                                                                           {"int4", PackedFormat::int4},
                                                                           {"fp8", PackedFormat::fp8}};
  return [&a](const std::string& text) -> std::string {
    constexpr std::string_view kSparse = ":sparse";
    a.are_sparse = text.ends_with(kSparse);
    const std::string_view name =
        std::string_view(text).substr(0, text.size() - (a.are_sparse ? kSparse.size() : 0));
    a.weights.reset();
    for (const auto& [known, format] : kFormats) {
      if (known == name) a.weights = format;
    }
    const bool is_known = a.weights ? !a.are_sparse || ops::can_be_sparse({*a.weights}) : text == "as-stored";
    return is_known ? ""
                    : "one of as-stored, f32, bf16, int8, int4, fp8, f32:sparse, bf16:sparse, int8:sparse";
  };
}

std::vector<PlainOption> weight_options(InferenceArguments& a) {
  return {
      {"weights", "NAME",
       "how matrices are held: f32, bf16, int8, int4, fp8 (E4M3, a scale for each row), or as-stored: as the "
       "file has them, blocks of GGUF files and codes of quantized ones too. f32:sparse, bf16:sparse and "
       "int8:sparse leave zeros out of matrices of which 30 % or more are zeros, which makes decoding faster "
       "(CPUs with AVX-512 VBMI2)",
       "as-stored", weights_into(a)},
      {"group", "32|64|128|0", "int8, int4: so many weights of a row share a scale; 0: the whole row", "32",
       one_of<int64_t>(a.group, {{"32", 32}, {"64", 64}, {"128", 128}, {"0", 0}})},
      {"asymmetric", "", "int8, int4: groups have a zero point too, for ranges that are not around 0", "",
       [&a](const std::string&) {
         a.is_asymmetric = true;
         return std::string();
       }},
      {"activations", "auto|exact|int8|int8-rows",
       "what integer weights are multiplied with: activations in 8 bits, with a scale for each 32 or one for "
       "each token (int8-rows, as SmoothQuant has it), or exactly as they are; auto: int8",
       "auto",
       one_of<std::optional<ops::Activations>>(a.activations, {{"auto", std::nullopt},
                                                               {"exact", ops::Activations::exact},
                                                               {"int8", ops::Activations::int8},
                                                               {"int8-rows", ops::Activations::int8_rows}})},
      {"precision", "f32|bf16", "dtype of activations and of the cache", "f32",
       one_of<DType>(a.model.compute_type,
                     {{"f32", DType::f32}, {"fp32", DType::f32}, {"bf16", DType::bf16}})},
      {"cache", "auto|int8", "keys and values in the cache: in the dtype of activations, or in 8 bits",
       "auto",
       one_of<ops::CacheType>(a.cache, {{"auto", ops::CacheType::plain}, {"int8", ops::CacheType::int8}})},
      {"cache-tokens", "N", "tokens that the cache holds, of all sequences that run at once",
       "what they need, up to half of the memory available", whole_into(a.cache_tokens, 1, kMostTokens)},
      {"max-seq-len", "N", "longest sequence, prompt and text", "the model's positions",
       whole_into(a.model.max_seq_len, 1, kMostTokens)},
      {"batch-tokens", "N", "tokens of a forward pass: long prompts are read in pieces of it", "512",
       whole_into(a.batch_tokens, 1, 1 << 24)},
  };
}

std::vector<PlainOption> rank_options(InferenceArguments& a) {
  return {
      {"tp", "N", "tensor-parallel degree", "1", whole_into(a.model.plan.tensor, 1, kMostRanks)},
      {"pp", "N", "pipeline stages", "1", whole_into(a.model.plan.pipeline, 1, kMostRanks)},
      {"ep", "N", "expert-parallel degree", "1", whole_into(a.model.plan.expert, 1, kMostRanks)},
      {"threads", "N", "CPU threads per rank", "the rank's share of the cores",
       whole_into(a.run.threads, 1, 4096)},
      {"device", "auto|cpu|cuda", "device; auto: cuda if a GPU is visible, else cpu", "auto",
       one_of<DeviceKind>(
           a.run.device,
           {{"auto", DeviceKind::automatic}, {"cpu", DeviceKind::cpu}, {"cuda", DeviceKind::cuda}})},
      {"tokenizer", "PATH", "tokenizer: a file, a folder, or byte", "the one beside the model",
       text_into(a.tokenizer)},
  };
}

void complete_weights(InferenceArguments& a, std::vector<std::string>& errors) {
  if (a.weights) a.model.weights = ops::PackedSpec{.format = *a.weights, .sparse = a.are_sparse};
  const bool is_grouped =
      a.weights && (*a.weights == ops::PackedFormat::int8 || *a.weights == ops::PackedFormat::int4);
  if (is_grouped) {
    constexpr int64_t kDefaultGroup = 32;
    a.model.weights->group = a.group.value_or(kDefaultGroup);
    a.model.weights->symmetric = !a.is_asymmetric;
  } else if (a.group || a.is_asymmetric) {
    errors.push_back(fmt::format("--{} has no effect without --weights int8 or int4",
                                 a.group ? fmt::format("group {}", *a.group) : "asymmetric"));
  }
  if (a.activations) a.model.activations = *a.activations;
  const bool is_integer = a.weights && ops::is_integer(*a.weights) && *a.weights != ops::PackedFormat::fp8;
  if (a.are_sparse && a.is_asymmetric)
    errors.emplace_back("--asymmetric: sparse weights have no zero points; leave it or :sparse out");
  if (a.activations && a.weights && !is_integer)
    errors.emplace_back("--activations has no effect: the weights are no integers (--weights int8 or int4)");
}

void complete_layout(InferenceArguments& a, int world_size, std::vector<std::string>& errors) {
  ParallelPlan& plan = a.model.plan;
  // Ranks of data parallelism would all do the same, but where they hold other experts or calibrate.
  plan.data = plan.expert * a.replicas;
  if (const std::string error = size_error(plan); !error.empty()) {
    errors.push_back(error);
  } else if (plan.world_size() != world_size) {
    errors.push_back(fmt::format(
        "--tp {} --pp {} --ep {}{} make {} rank(s), and {} were started: mpirun -n {}, or other "
        "degrees whose product is {}",
        plan.tensor, plan.pipeline, plan.expert, a.replicas > 1 ? fmt::format(" --dp {}", a.replicas) : "",
        plan.world_size(), world_size, plan.world_size(), world_size));
  }
}

// Errors of a layout call its options by the names that they have in training.
std::string with_names_of_here(std::string error) {
  for (const auto& [there, here] : {std::pair{"parallel.tensor", "tp"}, std::pair{"parallel.pipeline", "pp"},
                                    std::pair{"parallel.expert", "ep"}}) {
    for (size_t at = 0; (at = error.find(there, at)) != std::string::npos;) {
      const size_t end = at + std::string_view(there).size();
      const bool is_whole = end == error.size() || (error[end] != '-' && error[end] != '.');
      const std::string name = (error.substr(0, at).ends_with("--") ? "" : "--") + std::string(here);
      if (is_whole) error.replace(at, end - at, name);
      at = is_whole ? at + name.size() : end;
    }
  }
  return error;
}

}  // namespace

const ModelConfig& fitting(const ModelConfig& model, const InferenceArguments& arguments) {
  ParallelPlan plan = arguments.model.plan;
  plan.data = plan.expert * arguments.replicas;  // as complete() has it
  if (plan.expert > 1 && model.moe.num_experts == 0)
    throw_usage("--ep {}: the model has no experts to divide", plan.expert);
  std::vector<std::string> errors = layout_errors(model, plan, {});
  for (std::string& error : errors) error = with_names_of_here(std::move(error));
  if (!errors.empty()) throw_usage("{}", fmt::join(errors, "\n"));
  return model;
}

std::vector<PlainOption> inference_options(InferenceArguments& arguments) {
  std::vector<PlainOption> options = weight_options(arguments);
  const auto more = rank_options(arguments);
  options.insert(options.end(), more.begin(), more.end());
  return options;
}

void complete(InferenceArguments& arguments, int world_size, std::vector<std::string>& errors) {
  complete_weights(arguments, errors);
  complete_layout(arguments, world_size, errors);
  if (arguments.memory_limit > 0 && (world_size > 1 || arguments.run.device == DeviceKind::cuda))
    errors.emplace_back(
        "--memory-limit bounds one process on the CPU: leave it out, or take --device cpu without mpirun");
}

void check_formats(const InferenceArguments& arguments, const LoadReport& loaded) {
  if (!arguments.activations) return;
  for (const char* integer : {"q8_0", "q4_", "q6_k", "int8", "int4"}) {
    if (loaded.formats.find(integer) != std::string::npos) return;
  }
  throw_usage("--activations has no effect: the weights of {} are {}, no integers; --weights int8 makes them",
              arguments.path, loaded.formats);
}

int threads_of(const RunOptions& run, int local_ranks) {
  return run.threads > 0 ? run.threads : default_threads(cores_given(), local_ranks);
}

}  // namespace trireme::launch

#include "launch/config/complete_config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include <fmt/ranges.h>

#include "launch/config/attention_choice.h"
#include "launch/config/nearest_layouts.h"
#include "models/config/context_parallel_faults.h"
#include "models/config/tensor_parallel_faults.h"
#include "models/families/family.h"
#include "models/families/presets.h"
#include "parallel/pipeline/plan_schedule.h"

namespace trireme {

namespace {

using Faults = std::vector<std::string>;

void complete_model(ModelConfig& model, const std::set<std::string>& given, int64_t seq_len) {
  const Preset* preset = find_preset(model.name);
  const bool grouped = preset != nullptr && preset->config.num_kv_heads != preset->config.num_heads;
  if (!given.contains("model.kv-heads") && given.contains("model.heads") && !grouped) {
    model.num_kv_heads = model.num_heads;
  }
  if (!given.contains("model.ffn") && (preset == nullptr || given.contains("model.hidden"))) {
    model.ffn_size = default_ffn_size(model);
  }
  if (preset == nullptr && !given.contains("model.max-positions") && seq_len > 0)
    model.max_positions = seq_len;
}

/// A model with stretched positions was itself trained on the shorter sequences first.
int64_t default_seq_len(const ModelConfig& model) {
  const bool stretched = model.positions == PositionKind::rotary && model.rotary_scaling_factor > 1;
  return stretched ? std::min(model.rotary_original_positions, model.max_positions) : model.max_positions;
}

void check_batch(const RunConfig& config, Faults& faults) {
  if (config.parallel.data == 0) return;
  const int64_t micro = config.train.micro_batch, ranks = config.parallel.data,
                global = config.train.global_batch;
  const int64_t unit = micro * ranks;
  constexpr int64_t kMostAccumulated = 1 << 20;  // a schedule has an entry for each
  if (global / unit > kMostAccumulated) {
    faults.push_back(fmt::format(
        "train.global-batch {} is {} micro-batches a rank; at most are {}: use --train.micro-batch "
        "{} or more",
        global, global / unit, kMostAccumulated, (global / ranks + kMostAccumulated - 1) / kMostAccumulated));
    return;
  }
  if (global % unit == 0 && global > 0) return;
  const int64_t below = global / unit;
  const std::string smaller = below > 0 ? fmt::format("{} (accumulation {}) or ", below * unit, below) : "";
  std::string other;
  if (global % ranks == 0 && global > 0) {
    int64_t divisor = std::min(micro, global / ranks);
    while (global / ranks % divisor != 0) --divisor;
    other = fmt::format(", or --train.micro-batch {}", divisor);
  }
  faults.push_back(fmt::format(
      "train.global-batch {} is no multiple of train.micro-batch {} x {} data rank{} = {}: nearest "
      "are {}{} (accumulation {}){}",
      global, micro, ranks, ranks == 1 ? "" : "s", unit, smaller, (below + 1) * unit, below + 1, other));
}

/// Products of options that no whole number holds: what is computed of them would wrap.
void check_magnitudes(const RunConfig& config, Faults& faults) {
  constexpr double kMost = 0x1p62;
  const ModelConfig& m = config.model;
  const auto number = [](auto value) { return static_cast<double>(value); };
  const double hidden = number(m.hidden_size), layers = number(m.num_layers), heads = number(m.num_heads);
  const double experts = std::max<double>(1, number(m.moe.num_experts));
  const double width = number(std::max(m.ffn_size, m.moe.expert_ffn_size)) + number(m.moe.shared_ffn_size);
  const double vocab = number(std::max<int64_t>(known_vocab_size(config), 1));
  const double parameters = layers * (4 * hidden * hidden + 3 * hidden * width * experts) +
                            (2 * vocab + number(m.max_positions)) * hidden;
  if (16 * parameters > kMost) {
    faults.push_back(fmt::format(
        "the model would have {:.3g} parameters, more than can be counted: model.layers {}, model.hidden "
        "{}, model.ffn {}, moe.experts {}",
        parameters, m.num_layers, m.hidden_size, m.ffn_size, m.moe.num_experts));
  }
  const double micro = number(config.train.micro_batch), seq = number(config.train.seq_len);
  const double token = layers * (64 * hidden + 8 * width * (1 + number(m.moe.experts_per_token))) + 2 * vocab;
  if (16 * micro * seq * (token + layers * heads * seq) > kMost) {
    faults.push_back(
        fmt::format("a micro-batch would have more activations than can be counted: train.micro-batch {}, "
                    "train.seq-len {}, "
                    "model.layers {}, model.hidden {}",
                    config.train.micro_batch, config.train.seq_len, m.num_layers, m.hidden_size));
  }
  const double tokens = number(config.train.steps) *
                        number(std::max(config.train.global_batch, config.train.micro_batch)) * seq;
  if (tokens > kMost) {
    faults.push_back(
        fmt::format("the run would see {:.3g} tokens, more than can be counted: train.steps {}, "
                    "train.global-batch {}, train.seq-len {}",
                    tokens, config.train.steps, config.train.global_batch, config.train.seq_len));
  }
}

void check_run_directory(const std::string& dir, Faults& faults) {
  if (dir.empty()) return;
  const std::filesystem::path path = dir, name = path.has_filename() ? path : path.parent_path();
  if (name != name.root_path() && name.filename() != "." && name.filename() != "..") return;
  faults.push_back(fmt::format("run.dir {} is a folder that is there already: name a new one, such as {}",
                               dir, (name / "run").string()));
}

void check_division_of_model(const RunConfig& config, Faults& faults) {
  const auto append = [&](const Faults& more) { faults.insert(faults.end(), more.begin(), more.end()); };
  ModelConfig model = config.model;
  model.vocab_size = known_vocab_size(config);
  append(tensor_parallel_faults(model, config.parallel.tensor, config.parallel.expert_tensor));
  append(expert_parallel_faults(model.moe, config.parallel.expert, config.parallel.expert_chunks));
  const Faults of_context =
      context_parallel_faults(config.train.seq_len, config.model.max_positions, config.parallel.context);
  append(of_context);
  if (!config.parallel.sequence || !of_context.empty()) return;
  append(sequence_parallel_faults(config.train.micro_batch, config.train.seq_len, config.parallel.tensor,
                                  config.parallel.context));
}

void check_optimizer(const RunConfig& config, Faults& faults) {
  const OptimizerConfig& optimizer = config.optimizer;
  if (optimizer.warmup >= config.train.steps) {
    faults.push_back(
        fmt::format("optimizer.warmup {} is not below train.steps {}: the rate would never be reached",
                    optimizer.warmup, config.train.steps));
  }
  if (optimizer.schedule != LrScheduleKind::constant && optimizer.min_lr > optimizer.lr) {
    faults.push_back(
        fmt::format("optimizer.min-lr {} is above optimizer.lr {}", optimizer.min_lr, optimizer.lr));
  }
}

void complete_precision(TrainConfig& train, const std::set<std::string>& given) {
  if (!given.contains("train.loss-scale") && train.precision == DType::f16) {
    train.loss_scale.dynamic = true;
    if (!given.contains("train.loss-scale-start")) train.loss_scale.start = LossScaleConfig::kDynamicStart;
  }
  if (!given.contains("train.nonfinite")) {
    train.nonfinite = train.loss_scale.dynamic ? NonFinitePolicy::skip : NonFinitePolicy::stop;
  }
}

void check_precision(const TrainConfig& train, Faults& faults) {
  const LossScaleConfig& scale = train.loss_scale;
  if (!train.master && train.precision == DType::f16) {
    faults.push_back(
        "train.master none keeps weights in bf16 alone, fp16 cannot hold their range: use --train.precision "
        "bf16, or --train.master fp32");
  }
  if (scale.dynamic && train.nonfinite == NonFinitePolicy::stop) {
    faults.push_back(
        "train.nonfinite stop ends the run at the first overflow, by which a dynamic loss scale finds its "
        "value: use skip, or --train.loss-scale with a number");
  }
  if (scale.dynamic && scale.floor > scale.start) {
    faults.push_back(fmt::format("train.loss-scale-floor {} is above train.loss-scale-start {}", scale.floor,
                                 scale.start));
  }
}

// Formats of text and of token files share an option; run with neither, the fault is another.
void check_data_format(const DataConfig& data, Faults& faults) {
  const bool is_of_text = data.format == "text" || data.format == "jsonl";
  if (data.format == "auto" || data.text.empty() == data.tokens.empty()) return;
  if (is_of_text && data.text.empty()) {
    faults.push_back(fmt::format(
        "data.format {} is one of text; for data.tokens there are auto, trireme, llmc, nanogpt and megatron",
        data.format));
  } else if (!is_of_text && data.tokens.empty()) {
    faults.push_back(fmt::format(
        "data.format {} is one of token files; for data.text there are auto, text and jsonl", data.format));
  }
}

void check_data(const RunConfig& config, Faults& faults) {
  const DataConfig& data = config.data;
  if (data.text.empty() && data.tokens.empty()) {
    faults.push_back("nothing to train on: give --data.text FILE or --data.tokens FILE");
  }
  check_data_format(data, faults);
  if (!data.tokens.empty() && (data.tokenizer == "bpe" || data.tokenizer == "char")) {
    faults.push_back(fmt::format(
        "data.tokenizer {} is made from a text, but data.tokens {} has none: name the tokenizer's "
        "file that made the tokens, or byte",
        data.tokenizer, data.tokens));
  }
}

void check_backend(const RunConfig& config, int world_size, Faults& faults) {
  const RunOptions& run = config.run;
  if (run.backend == "self" && world_size > 1) {
    faults.push_back(
        fmt::format("run.backend self is for one rank, {} were started: use mpi or auto", world_size));
  }
  if (run.backend == "nccl" && run.device == "cpu") {
    faults.push_back("run.backend nccl is for GPUs, run.device is cpu: use mpi or auto");
  }
}

void check_attention(const RunConfig& config, Faults& faults) {
  if (config.run.attention != AttentionChoice::cudnn) return;
  const std::string why = why_not_all_by_cudnn(config);
  if (!why.empty()) faults.push_back(fmt::format("run.attention cudnn: {}; use auto", why));
}

// What cannot be captured: whatever the host decides in the middle of a step.
void check_graph(const RunConfig& config, int world_size, Faults& faults) {
  if (!config.run.cuda_graph) return;
  const auto refuse = [&](bool applies, std::string_view why) {
    if (applies) faults.push_back(fmt::format("run.cuda-graph on: {}", why));
  };
  refuse(config.run.device == "cpu", "run.device cpu has no graphs: leave it out");
  refuse(
      config.model.moe.num_experts > 0,
      "with model.experts the host has to know in every layer how many rows each expert gets: leave it out");
  refuse(config.parallel.pipeline > 1,
         "the stages of a pipeline let go of memory when messages have arrived, which differs from step to "
         "step: use --pp 1, or leave it out");
  refuse(config.run.backend == "mpi" && world_size > 1,
         "run.backend mpi carries tensors through the host: use nccl");
  refuse(config.train.loss_scale.dynamic,
         "a dynamic loss scale is decided by the host after each step: use --train.loss-scale with a number");
  refuse(config.train.nonfinite == NonFinitePolicy::skip && !config.train.loss_scale.dynamic,
         "train.nonfinite skip decides on the host after each step: use stop");
  refuse(config.train.check == NonFiniteCheck::op,
         "train.check op looks at each tensor when it is made: use step");
}

void check_profile(const RunConfig& config, Faults& faults) {
  const int64_t step = config.run.profile_step;
  if (step > config.train.steps) {
    faults.push_back(
        fmt::format("run.profile-step {}: the last step is train.steps {}", step, config.train.steps));
  }
  if (step > 0 && config.run.cuda_graph) {
    faults.push_back(
        fmt::format("run.profile-step {}: with run.cuda-graph on a step is one call without times of its "
                    "ops: leave one of "
                    "them out",
                    step));
  }
}

void add_nearest_layouts(const RunConfig& config, int world_size, Faults& layout) {
  constexpr size_t kMost = 3;
  const auto nearest = nearest_layouts(config, world_size, kMost);
  if (nearest.empty()) return;
  layout.back() += fmt::format("\n     nearest layouts of {} rank{} that work: {}", world_size,
                               world_size == 1 ? "" : "s", fmt::join(nearest, "; "));
}

}  // namespace

std::vector<std::string> layout_faults(RunConfig& config, int world_size, bool model_is_sound) {
  Faults faults = resolve(config.parallel, world_size);
  if (model_is_sound) check_division_of_model(config, faults);
  if (config.parallel.data > 0 && config.train.global_batch == 0)
    config.train.global_batch = config.train.micro_batch * config.parallel.data;
  check_batch(config, faults);
  if (!model_is_sound) return faults;
  const bool is_sound = config.parallel.data > 0 && faults.empty();
  const int num_micro_batches = is_sound ? static_cast<int>(config.accumulation()) : 0;
  const Faults pipeline =
      pipeline_faults(config.parallel, static_cast<int>(config.model.num_layers) + 2, num_micro_batches);
  faults.insert(faults.end(), pipeline.begin(), pipeline.end());
  return faults;
}

std::vector<std::string> complete(RunConfig& config, const std::set<std::string>& given, int world_size,
                                  bool needs_data) {
  complete_model(config.model, given, config.train.seq_len);
  Faults faults = faults_of(config.model);
  if (config.train.seq_len == 0) config.train.seq_len = default_seq_len(config.model);
  check_magnitudes(config, faults);
  const bool model_is_sound = faults.empty();
  check_run_directory(config.run.dir, faults);
  if (config.train.seq_len > config.model.max_positions) {
    faults.push_back(fmt::format("train.seq-len {} is more than model.max-positions {}", config.train.seq_len,
                                 config.model.max_positions));
  }
  const RunConfig asked = config;
  Faults layout = layout_faults(config, world_size, model_is_sound);
  if (model_is_sound && !layout.empty()) add_nearest_layouts(asked, world_size, layout);
  faults.insert(faults.end(), layout.begin(), layout.end());
  complete_precision(config.train, given);
  check_precision(config.train, faults);
  check_optimizer(config, faults);
  if (needs_data) check_data(config, faults);
  check_backend(config, world_size, faults);
  if (model_is_sound) check_attention(config, faults);
  check_graph(config, world_size, faults);
  check_profile(config, faults);
  return faults;
}

int64_t known_vocab_size(const RunConfig& config) {
  constexpr int64_t kBytesAndEnd = 257;
  if (config.model.vocab_size > 0) return config.model.vocab_size;
  if (config.data.tokenizer == "byte") return kBytesAndEnd;
  return config.data.tokenizer == "bpe" ? config.data.bpe_vocab : 0;
}

}  // namespace trireme

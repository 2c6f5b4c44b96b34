#include "launch/config/complete_config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include <fmt/ranges.h>

#include "launch/config/attention_choice.h"
#include "launch/config/check_prune.h"
#include "launch/config/distill_errors.h"
#include "launch/config/optimizer_choice.h"
#include "models/config/nearest_layouts.h"
#include "models/config/validate.h"
#include "models/families/family.h"
#include "models/families/presets.h"
#include "runtime/data/tokenizer_kind.h"

namespace trireme::launch {

namespace {

using Errors = std::vector<std::string>;

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
  if (model.positions != PositionKind::rotary || !(model.rotary_scaling_factor > 1))
    return model.max_positions;
  if (model.rotary_scaling != RotaryScaling::linear)
    return std::min(model.rotary_original_positions, model.max_positions);
  const double unscaled = static_cast<double>(model.max_positions) / model.rotary_scaling_factor;
  return std::max<int64_t>(1, std::llround(unscaled));
}

/// A product that no whole number holds: what is computed of it would wrap.
void check_tokens(const TrainConfig& train, Errors& errors) {
  constexpr double kMost = 0x1p62;
  const auto number = [](int64_t value) { return static_cast<double>(value); };
  const double tokens =
      number(train.steps) * number(std::max(train.global_batch, train.micro_batch)) * number(train.seq_len);
  if (tokens > kMost) {
    errors.push_back(
        fmt::format("the run would see {:.3g} tokens, more than can be counted: train.steps {}, "
                    "train.global-batch {}, train.seq-len {}",
                    tokens, train.steps, train.global_batch, train.seq_len));
  }
}

void check_run_directory(const std::string& dir, Errors& errors) {
  if (dir.empty()) return;
  const std::filesystem::path path = dir, name = path.has_filename() ? path : path.parent_path();
  if (name != name.root_path() && name.filename() != "." && name.filename() != "..") return;
  errors.push_back(fmt::format("run.dir {} exists already: choose a new directory, such as {}", dir,
                               (name / "run").string()));
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

void check_precision(const TrainConfig& train, Errors& errors) {
  const LossScaleConfig& scale = train.loss_scale;
  if (!train.master && train.precision == DType::f16) {
    errors.push_back(
        "train.master none needs bf16 weights, fp16 has too small a range: use --train.precision "
        "bf16, or --train.master fp32");
  }
  if (scale.dynamic && train.nonfinite == NonFinitePolicy::stop) {
    errors.push_back(
        "train.nonfinite stop would end the run at the first overflow, and a dynamic loss scale "
        "relies on overflows: use skip, or --train.loss-scale with a number");
  }
  if (scale.dynamic && scale.floor > scale.start) {
    errors.push_back(fmt::format("train.loss-scale-floor {} is above train.loss-scale-start {}", scale.floor,
                                 scale.start));
  }
}

void check_quantization(const RunConfig& config, Errors& errors) {
  if (!config.model.quantization) return;
  if (config.train.float8)
    errors.push_back(
        "train.fp8 on and qat.weights: a product is quantized in one way; leave one of them out");
  if (config.run.cuda_graph)
    errors.push_back("run.cuda-graph on: qat.weights makes codes of the weights on the host; leave it out");
  if (config.qat.start_step >= config.train.steps && config.qat.start_step > 0)
    errors.push_back(fmt::format("qat.start-step {}: training ends after train.steps {}; give fewer",
                                 config.qat.start_step, config.train.steps));
}

// Formats of text and of token files share an option; run with neither, the error is another.
void check_data_format(const DataConfig& data, Errors& errors) {
  const bool is_of_text = data.format == "text" || data.format == "jsonl";
  if (data.format == "auto" || data.text.empty() == data.tokens.empty()) return;
  if (is_of_text && data.text.empty()) {
    errors.push_back(fmt::format(
        "data.format {} is a text format; data.tokens takes auto, trireme, llmc, nanogpt or megatron",
        data.format));
  } else if (!is_of_text && data.tokens.empty()) {
    errors.push_back(
        fmt::format("data.format {} is a token format; data.text takes auto, text or jsonl", data.format));
  }
}

void check_data(const RunConfig& config, Errors& errors) {
  const DataConfig& data = config.data;
  if (data.text.empty() && data.tokens.empty()) {
    errors.push_back("nothing to train on: give --data.text FILE or --data.tokens FILE");
  }
  check_data_format(data, errors);
  if (!data.tokens.empty() && is_made_from_text(tokenizer_kind(data.tokenizer))) {
    errors.push_back(fmt::format(
        "data.tokenizer {} is built from text, but data.tokens {} has only tokens: give the tokenizer "
        "file the tokens were made with, or byte",
        data.tokenizer, data.tokens));
  }
  if (data.documents == DocumentsKind::separate && tokenizer_kind(data.tokenizer) == TokenizerKind::chars) {
    errors.push_back(
        "data.documents separate: data.tokenizer char has no end-of-text token to separate documents "
        "by: use byte, bpe or a tokenizer file, or --data.documents attend");
  }
}

void check_backend(const RunConfig& config, int world_size, Errors& errors) {
  const RunOptions& run = config.run;
  if (run.backend == BackendKind::self && world_size > 1) {
    errors.push_back(
        fmt::format("run.backend self is for one rank, but {} were started: use mpi or auto", world_size));
  }
  if (run.backend == BackendKind::nccl && run.device == DeviceKind::cpu) {
    errors.push_back("run.backend nccl needs GPUs, but run.device is cpu: use mpi or auto");
  }
}

void check_attention(const RunConfig& config, Errors& errors) {
  if (config.run.attention != AttentionChoice::cudnn) return;
  const std::string why = why_not_all_by_cudnn(config);
  if (!why.empty()) errors.push_back(fmt::format("run.attention cudnn: {}; use auto", why));
}

// What cannot be captured: whatever the host decides in the middle of a step.
void check_graph(const RunConfig& config, int world_size, Errors& errors) {
  if (!config.run.cuda_graph) return;
  const auto refuse = [&](bool applies, std::string_view why) {
    if (applies) errors.push_back(fmt::format("run.cuda-graph on: {}", why));
  };
  refuse(config.run.device == DeviceKind::cpu, "run.device cpu has no CUDA graphs: leave it out");
  refuse(config.exit.dropout > 0 || (kept_streams(config.model, config.exit) > 0 &&
                                     config.exit.curriculum == ExitCurriculum::rotating),
         "which samples pass layers by or have which exit changes from step to step: use exit.dropout 0 and "
         "exit.curriculum all, or leave it out");
  refuse(config.model.moe.num_experts > 0,
         "an MoE model needs the host in every layer, which has to know how many tokens each expert "
         "gets: leave it out");
  refuse(config.parallel.pipeline > 1,
         "pipeline stages free memory when messages arrive, which varies from step to step: use --pp "
         "1, or leave it out");
  refuse(config.run.backend == BackendKind::mpi && world_size > 1,
         "run.backend mpi copies tensors through the host: use nccl");
  refuse(config.train.loss_scale.dynamic,
         "the host updates a dynamic loss scale after each step: use --train.loss-scale with a number");
  refuse(config.train.nonfinite == NonFinitePolicy::skip && !config.train.loss_scale.dynamic,
         "train.nonfinite skip is decided on the host after each step: use stop");
  refuse(config.train.check == NonFiniteCheck::op, "train.check op checks each tensor on the host: use step");
}

void check_profile(const RunConfig& config, Errors& errors) {
  const int64_t step = config.run.profile_step;
  if (step > config.train.steps) {
    errors.push_back(
        fmt::format("run.profile-step {}: the last step is train.steps {}", step, config.train.steps));
  }
  const StepRange& trace = config.run.trace;
  if (trace.first > config.train.steps) {
    errors.push_back(fmt::format("run.trace {}:{}: the last step is train.steps {}", trace.first, trace.last,
                                 config.train.steps));
  }
  if (trace.contains(step)) {
    errors.push_back(
        fmt::format("run.profile-step {}: run.trace {}:{} measures that step too, and the trace has all that "
                    "profile.json has: choose another step, or leave one of them out",
                    step, trace.first, trace.last));
  }
  if (trace.first > 0 && config.run.cuda_graph) {
    errors.push_back(
        fmt::format("run.trace {}:{}: with run.cuda-graph on, ops have no times of their own: leave one of "
                    "them out",
                    trace.first, trace.last));
  }
  if (step > 0 && config.run.cuda_graph) {
    errors.push_back(
        fmt::format("run.profile-step {}: with run.cuda-graph on, ops have no times of their own: "
                    "leave one of them out",
                    step));
  }
}

void add_nearest_layouts(const RunConfig& config, int world_size, Errors& layout) {
  constexpr size_t kMost = 3;
  const auto nearest =
      nearest_layouts(known_model(config), config.parallel, batch_of(config), world_size, kMost);
  if (nearest.empty()) return;
  layout.back() += fmt::format("\n     nearest layouts of {} rank{} that work: {}", world_size,
                               world_size == 1 ? "" : "s", fmt::join(nearest, "; "));
}

}  // namespace

ModelConfig known_model(const RunConfig& config) {
  ModelConfig model = config.model;
  model.vocab_size = known_vocab_size(config);
  return model;
}

BatchSpec batch_of(const RunConfig& config) {
  return {config.train.micro_batch, config.train.seq_len, config.train.global_batch};
}

std::vector<std::string> complete(RunConfig& config, const std::set<std::string>& given, int num_ranks,
                                  bool needs_data) {
  const int world_size = student_ranks(config, num_ranks);
  complete_model(config.model, given, config.train.seq_len);
  if (config.train.seq_len == 0) config.train.seq_len = default_seq_len(config.model);
  const RunConfig asked = config;
  const std::string of_world = fit_to_world(config.parallel, world_size);
  config.train.global_batch = batch_of(config).completed(config.parallel).global_batch;

  const ModelConfig model = known_model(config);
  const BatchSpec batch = batch_of(config);
  const bool model_is_sound = is_sound(model, batch);
  Errors errors = model_errors(model, batch);
  check_tokens(asked.train, errors);
  check_run_directory(config.run.dir, errors);
  Errors layout = layout_errors(model, config.parallel, batch, model_is_sound);
  if (!of_world.empty()) layout.insert(layout.begin(), of_world);
  if (model_is_sound && !layout.empty()) add_nearest_layouts(asked, world_size, layout);
  errors.insert(errors.end(), layout.begin(), layout.end());
  complete_precision(config.train, given);
  if (config.model.quantization) config.model.quantization.compute_type = config.train.precision;
  check_precision(config.train, errors);
  check_quantization(config, errors);
  if (config.optimizer.muon_lr == 0) config.optimizer.muon_lr = config.optimizer.lr;
  if (model_is_sound) {
    const Errors of_optimizer = optimizer_errors(config);
    errors.insert(errors.end(), of_optimizer.begin(), of_optimizer.end());
    if (of_optimizer.empty()) {
      const Errors of_pruning = prune_errors(config);
      errors.insert(errors.end(), of_pruning.begin(), of_pruning.end());
    }
  }
  if (needs_data) check_data(config, errors);
  check_backend(config, num_ranks, errors);
  if (model_is_sound) check_attention(config, errors);
  check_graph(config, world_size, errors);
  check_profile(config, errors);
  complete_distillation(config, given, num_ranks, errors);
  if (config.distill && kept_streams(config.model, config.exit) > 0)
    errors.push_back(
        "distill.teacher beside exits (model.exits): a teacher says nothing of exits; use exit.scale 0, or "
        "train for exits afterwards");
  return errors;
}

int64_t known_vocab_size(const RunConfig& config) {
  constexpr int64_t kBytesAndEnd = 257;
  if (config.model.vocab_size > 0) return config.model.vocab_size;
  const TokenizerKind kind = tokenizer_kind(config.data.tokenizer);
  if (kind == TokenizerKind::byte) return kBytesAndEnd;
  return kind == TokenizerKind::bpe ? config.data.bpe_vocab : 0;
}

}  // namespace trireme::launch

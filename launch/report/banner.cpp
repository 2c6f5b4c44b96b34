#include "launch/report/banner.h"

#include <fmt/ranges.h>

#include "launch/config/complete_config.h"
#include "launch/config/memory_inputs.h"
#include "launch/config/optimizer_choice.h"
#include "launch/process/build_info.h"
#include "launch/report/number_text.h"
#include "models/cost/layer_placement.h"
#include "models/cost/model_size.h"
#include "parallel/pipeline/plan_schedule.h"
#include "parallel/pipeline/simulate.h"
#include "runtime/data/tokenizer_kind.h"

namespace trireme::launch {

namespace {

std::string line(const char* label, const std::string& text) {
  return text.empty() ? "" : fmt::format("  {:<11}{}\n", label, text);
}

std::string hosts_text(const RunPlace& place, int world_size) {
  std::string text = counted(world_size, "rank");
  if (place.hosts.empty()) return text;
  text += place.hosts.size() == 1 ? " on " : fmt::format(" on {} hosts: ", place.hosts.size());
  constexpr size_t kMostShown = 8;
  for (size_t i = 0; i < place.hosts.size() && i < kMostShown; ++i) {
    text += (i > 0 ? ", " : "") + place.hosts[i].name;
    if (place.hosts.size() > 1) text += fmt::format(" x {}", place.hosts[i].num_ranks);
  }
  return text + (place.hosts.size() > kMostShown ? ", ..." : "");
}

std::string zero_text(const RunConfig& config) {
  const int stage = config.parallel.zero_stage;
  if (stage == 0) return "";
  constexpr const char* kWhat[] = {"optimizer state", "optimizer state and gradients",
                                   "optimizer state, gradients and weights"};
  const int shard = config.parallel.shard_ranks(), copies = config.parallel.gradient_ranks() / shard;
  std::string text = fmt::format("; ZeRO {}: {} sharded over {} ranks", stage, kWhat[stage - 1], shard);
  if (copies > 1) text += fmt::format(", {} replicas", copies);
  if (stage == 3) text += config.parallel.overlap ? ", the next layer prefetched" : ", no prefetch";
  if (stage > 1 && config.accumulation() > 1) {
    text += " (full gradients during accumulation)";
  }
  return text;
}

std::string tensor_text(const ParallelPlan& plan) {
  std::string text = plan.sequence ? "sequence-parallel" : "";
  if (plan.tensor_chunks > 1) {
    text += fmt::format("{}overlapped in {} chunks", text.empty() ? "" : ", ", plan.tensor_chunks);
  }
  return text.empty() ? "" : fmt::format(" ({})", text);
}

std::string experts_over(const ParallelPlan& plan) {
  std::string text = plan.expert > 1 ? fmt::format(", experts over {}", plan.expert) : "";
  if (plan.expert_row_shards() > 1)
    text += fmt::format("{} {} wide", plan.expert > 1 ? " x" : ", experts", plan.expert_tensor_ranks());
  if (plan.expert_chunks > 1) text += fmt::format(" in {} chunks", plan.expert_chunks);
  return text;
}

std::string layout_text(const RunConfig& config) {
  const ParallelPlan& plan = config.parallel;
  const char* when = plan.overlap          ? "during the backward pass"
                     : plan.zero_stage > 1 ? "in the backward pass, not overlapped"
                                           : "after the backward pass";
  return fmt::format(
      "data {} x tensor {}{} x pipeline {} x context {}{}; gradients reduced in buckets of {} MiB {}{}",
      plan.data, plan.tensor, tensor_text(plan), plan.pipeline, plan.context, experts_over(plan),
      plan.bucket_mib, when, zero_text(config));
}

std::string pipeline_text(const RunConfig& config) {
  const ParallelPlan& plan = config.parallel;
  if (plan.pipeline == 1) return "";
  const auto m = static_cast<int>(config.accumulation());
  const Timeline timeline = simulate(training_schedule(plan, m), {1, 1, 1});
  return fmt::format(
      "{}{}, {} per replica: bubble {:.1f} % with equal stages and free transfers; {}", plan.schedule.text(),
      plan.virtual_stages > 1 ? fmt::format(" with {} virtual stages per rank", plan.virtual_stages) : "",
      m == 1 ? "1 micro-batch" : fmt::format("{} micro-batches", m), 100 * timeline.bubble,
      placement_text(config.model, config.train.seq_len, plan));
}

std::string optimizer_text(const RunConfig& config) {
  const OptimizerConfig& o = config.optimizer;
  std::string rate = fmt::format("lr {:g} {}", o.lr, to_string(o.schedule));
  if (o.schedule != LrScheduleKind::constant) rate += fmt::format(" to {:g}", o.min_lr);
  std::string text =
      fmt::format("AdamW, {}, warm-up {}, betas {:g} {:g}, weight decay {:g}, {}", rate, o.warmup, o.beta1,
                  o.beta2, o.weight_decay, o.clip > 0 ? fmt::format("clip {:g}", o.clip) : "no clipping");
  if (o.kind != OptimizerKind::adamw && o.kind != OptimizerKind::muon)
    text += fmt::format("; {} for the linear layers' matrices", to_string(o.kind));
  if (uses_muon(o)) {
    text += fmt::format("; Muon{}, lr {:g}, momentum {:g}{}, {} Newton-Schulz iterations in {}",
                        o.kind == OptimizerKind::muon ? " for the linear layers' matrices" : "", muon_lr(o),
                        o.muon_momentum, o.muon_nesterov ? " (Nesterov)" : "", o.muon_ns_steps,
                        muon_precision(config) == DType::f32 ? "fp32" : "bf16");
  }
  return text + (o.rules.empty() ? ""
                                 : fmt::format("; {} of --optimizer.rules",
                                               counted(static_cast<int64_t>(o.rules.size()), "rule")));
}

std::string loss_text(const RunConfig& config) {
  std::string added;
  const auto add = [&](std::string_view what, double number) {
    if (number > 0) added += fmt::format("{}{} {:g}", added.empty() ? "" : " and ", what, number);
  };
  for (const auto& [what, number] : config.loss.terms()) add(what, number);
  const ModelConfig& model = config.model;
  if (kept_streams(model, config.exit) > 0)
    add(fmt::format("exits behind {} layers x", fmt::join(model.exits, ", ")), config.exit.scale);
  if (added.empty()) return "cross-entropy";
  return fmt::format("cross-entropy, plus {} (shown as objective)", added);
}

std::string data_text(const RunConfig& config) {
  const DataConfig& data = config.data;
  if (data.text.empty() && data.tokens.empty()) return "";
  std::string text =
      fmt::format("{}, tokenizer {}", data.text.empty() ? data.tokens : data.text, data.tokenizer);
  if (tokenizer_kind(data.tokenizer) == TokenizerKind::bpe) text += fmt::format(" of {}", data.bpe_vocab);
  if (data.documents == DocumentsKind::separate) text += ", attention within documents only";
  if (!data.valid_tokens.empty()) return text + fmt::format("; evaluated on {}", data.valid_tokens);
  return text + (data.valid_fraction > 0
                     ? fmt::format("; evaluated on the last {:g}%", 100 * data.valid_fraction)
                     : "; no evaluation");
}

std::string weights_text(const StartConfig& start) {
  if (start.file.empty()) return "";
  return fmt::format("from {}{}", start.file,
                     start.upcycle ? ", a dense model upcycled: experts start from its feed-forward "
                                     "weights"
                                   : "");
}

std::string recompute_text(const RunConfig& config) {
  const Recomputation& recomputation = config.train.recomputation;
  if (recomputation.mode == RecomputeMode::none) return "";
  const ModelConfig model = known_model(config);
  const double more = recomputed_flops_per_token(model, config.train.seq_len, recomputation) /
                      training_flops_per_token(model, config.train.seq_len);
  const std::string what =
      recomputation.of_attention()
          ? "selective: core attention of every block"
          : fmt::format("full: {} of {}", recomputation.num_whole_blocks(model.num_layers),
                        counted(model.num_layers, "block"));
  return fmt::format("{}; {:.1f} % more FLOPs", what, 100 * more);
}

std::string compute_text(const RunConfig& config, const RunPlace& place) {
  const TrainConfig& train = config.train;
  std::string text = precision_name(train.precision);
  if (train.float8) text += ", linear layers in fp8 (experimental)";
  if (!train.master) text += " without master weights";
  if (train.loss_scale.dynamic || train.loss_scale.start != 1) {
    text += fmt::format(", loss scale {}{}", train.loss_scale.dynamic ? "dynamic from " : "",
                        train.loss_scale.start);
  }
  if (!place.device.empty()) text += " on " + place.device;
  if (place.threads_per_rank > 0) text += ", " + counted(place.threads_per_rank, "thread") + " per rank";
  if (config.run.cuda_graph) text += ", CUDA graphs";
  if (place.backend.empty()) return text;
  text += ", communication by " + place.backend;
  if (place.backend == trireme::to_string(BackendKind::nccl)) {
    text += fmt::format(" ({} CTAs per collective, {} per message)", config.run.nccl_ctas,
                        config.run.nccl_channel_ctas);
  }
  return text;
}

std::string quantization_text(const RunConfig& config) {
  const QuantizationConfig& q = config.model.quantization;
  if (!q) return "";
  std::string text = fmt::format("trained through {}, {} scales, {} activations", ops::to_string(q.spec()),
                                 q.learned_scales ? "learned" : "measured",
                                 q.activations == ops::Activations::exact  ? "exact"
                                 : q.activations == ops::Activations::int8 ? "int8"
                                                                           : "int8 (a scale a row)");
  text += q.embedding && q.head ? "; token table and head too"
          : q.embedding         ? "; token table too"
          : q.head              ? "; head too"
                                : "; token table and head stay";
  if (!q.skip.empty()) text += fmt::format("; not {}", fmt::join(q.skip, ", "));
  if (config.qat.start_step > 0) text += fmt::format("; after {} steps", config.qat.start_step);
  return text;
}

std::string prune_text(const PruneConfig& p) {
  constexpr const char* kUnits[] = {"weights", "neurons", "query heads", "key-value heads"};
  if (!p) return "";
  std::string text;
  if (p.is_scheduled()) {
    const std::string part =
        p.of > 0 ? fmt::format("{} of every {} inputs", p.zeros, p.of)
                 : fmt::format("{:g} % of the {}", 100 * p.sparsity, kUnits[static_cast<size_t>(p.unit)]);
    const char* among = p.budget == PruneBudget::global   ? "the model"
                        : p.budget == PruneBudget::output ? "each output"
                        : p.unit == PruneUnit::weight     ? "each matrix"
                                                          : "each part of a block";
    const std::string when = p.start_step == p.end_step ? fmt::format("at once after {} updates", p.end_step)
                                                        : fmt::format("from update {} to {}, every {}",
                                                                      p.start_step, p.end_step, p.every);
    text = fmt::format("{} of {}, {}", part, among, when);
  }
  if (p.keeps_zeros) text += text.empty() ? "zeros stay zero" : "; zeros stay zero";
  if (!p.skip.empty()) text += fmt::format("; not {}", fmt::join(p.skip, ", "));
  return text;
}

// Before its files are read its name alone is known.
std::string teacher_text(const RunConfig& config, const RunPlace& place) {
  return place.teacher.empty() ? config.distill.teacher : place.teacher;
}

}  // namespace

std::string layout_line(const RunConfig& config) {
  const std::string pipeline = pipeline_text(config);
  return layout_text(config) + (pipeline.empty() ? "" : "; pipeline " + pipeline);
}

std::string precision_name(DType precision) {
  return precision == DType::f32 ? "fp32" : precision == DType::f16 ? "fp16" : "bf16";
}

std::string memory_line(const MemoryEstimate& estimate) {
  std::string parts;
  for (int i = 0; i < kNumMemoryCategories; ++i) {
    const auto category = static_cast<MemoryCategory>(i);
    parts += fmt::format("{}{} {}", i > 0 ? ", " : "", to_string(category),
                         short_bytes(static_cast<double>(estimate[category])));
  }
  return fmt::format("{} per rank: {}", short_bytes(static_cast<double>(estimate.total())), parts);
}

std::string predicted_memory_line(MemoryInputs inputs) {
  const MemoryEstimate even = estimate_memory(inputs);
  inputs.expert_load = ExpertLoad::worst;
  const int64_t most = estimate_memory(inputs).total();
  if (most == even.total()) return memory_line(even);
  return fmt::format("{}; up to {} with expert load imbalance", memory_line(even),
                     short_bytes(static_cast<double>(most)));
}

std::string batch_line(const RunConfig& config) {
  return fmt::format(
      "global batch {} = micro-batch {} x gradient accumulation {} x {}; sequence length {}, {} "
      "tokens per step, {} steps",
      config.train.global_batch, config.train.micro_batch, config.accumulation(),
      counted(config.parallel.data, "data-parallel rank"), config.train.seq_len,
      grouped(config.tokens_per_step()), config.train.steps);
}

std::string size_lines(const RunConfig& config, int threads) {
  const ModelConfig model = known_model(config);
  const ModelSize size = size_of(model);
  std::string parameters =
      fmt::format("{} ({} without embeddings)", grouped(size.parameters), grouped(size.non_embedding));
  if (size.active != size.parameters)
    parameters += fmt::format(", {} active per token", grouped(size.active));
  if (model.vocab_size == 0) {
    parameters = fmt::format("{} + {} per token of the vocabulary", grouped(size.parameters),
                             (model.tied_embeddings ? 1 : 2) * model.hidden_size);
  }
  const double token_flops = training_flops_per_token(model, config.train.seq_len);
  return line("parameters", parameters) +
         line("memory", "predicted " + predicted_memory_line(memory_inputs(config, threads)) +
                            (model.vocab_size == 0 ? "; plus what the vocabulary takes" : "")) +
         line("FLOPs", fmt::format("{:.4g} MFLOP per token, {:.4g} GFLOP per step", token_flops * 1e-6,
                                   token_flops * static_cast<double>(config.tokens_per_step()) * 1e-9));
}

std::string banner(const RunConfig& config, const RunPlace& place) {
  const int world_size = config.parallel.world_size();
  return build_line() + "\n" + line("ranks", hosts_text(place, world_size)) +
         line("layout", layout_text(config)) + line("pipeline", pipeline_text(config)) +
         line("compute", compute_text(config, place)) + line("attention", place.attention) +
         line("recompute", recompute_text(config)) + line("model", model_line(config.model)) +
         line("weights", weights_text(config.start)) + size_lines(config, place.threads_per_rank) +
         line("quantized", quantization_text(config)) + line("pruned", prune_text(config.prune)) +
         line("data", data_text(config)) + line("tokens", place.tokens) +
         line("teacher", teacher_text(config, place)) + line("batch", batch_line(config)) +
         line("loss", loss_text(config)) + line("optimizer", optimizer_text(config)) +
         line("files", place.run_directory);
}

}  // namespace trireme::launch

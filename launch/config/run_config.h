// Everything a training run is told: plain structs, filled by the command line, read by the trainer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/config/run_kinds.h"
#include "models/config/loss_config.h"
#include "models/config/model_config.h"
#include "parallel/optimizer/loss_scaler.h"
#include "parallel/optimizer/lr_schedule.h"
#include "parallel/plan/parallel_plan.h"
#include "parallel/plan/parameter_rules.h"
#include "parallel/plan/recomputation.h"
#include "parallel/training/nonfinite_policy.h"
#include "runtime/device/device.h"
#include "runtime/device/op_settings.h"
#include "runtime/tensor/dtype.h"

namespace trireme {

struct DataConfig {
  std::string text;    ///< text or JSONL to tokenize in memory; either this or tokens
  std::string tokens;  ///< token file to train on
  std::string
      valid_tokens;  ///< token file to evaluate on; empty: the last valid_fraction of the training data
  std::string format = "auto";     ///< of text (auto, text, jsonl) or of token files (TokenFormat)
  std::string tokenizer = "byte";  ///< a kind or a path (tokenizer_kind())
  std::string end_of_text;         ///< token between documents; empty: known by its name
  int64_t bpe_vocab = 4096;        ///< size of a tokenizer trained here
  double valid_fraction = 0.1;     ///< last part of the text or token file, kept for evaluation; 0: none
  DocumentsKind documents = DocumentsKind::attend;
  int64_t prefetch = 2;  ///< steps whose batches are read in advance; 0: none

  friend bool operator==(const DataConfig&, const DataConfig&) = default;
};

struct TrainConfig {
  int64_t steps = 2000;
  int64_t seq_len = 0;       ///< tokens a sample; 0 until complete()
  int64_t micro_batch = 8;   ///< samples that go through a rank at once
  int64_t global_batch = 0;  ///< samples an optimizer step; 0 until complete()
  uint64_t seed = 1337;
  DType precision = DType::f32;  ///< of compute and activations; reductions are f32
  bool master = true;  ///< f32 copy of 16-bit weights; without, bf16 weights are rounded stochastically
  LossScaleConfig loss_scale;
  NonFinitePolicy nonfinite = NonFinitePolicy::stop;
  NonFiniteCheck check = NonFiniteCheck::step;
  bool float8 = false;               ///< linear layers of the blocks multiply in fp8 (Transformer)
  Recomputation recomputation;       ///< what is not kept for the backward pass
  int64_t stop_after = 0;            ///< the run ends after this step, to be resumed; 0: after the last
  int64_t eval_every = 0;            ///< steps between evaluations; 0: only at start and end
  int64_t eval_batches = 0;          ///< global batches an evaluation; 0: the whole validation set
  int64_t log_every = 10;            ///< steps between printed lines; metrics.jsonl has every step
  std::string sample_prompt = "\n";  ///< prompt of the text generated at the end
  int64_t sample_tokens = 200;       ///< tokens generated at the end; 0: none

  friend bool operator==(const TrainConfig&, const TrainConfig&) = default;
};

/// Where the first weights come from.
struct StartConfig {
  /// Safetensors under this program's names, or a directory with a checkpoint or a run's weights; empty:
  /// drawn from train.seed.
  std::string file;
  bool upcycle = false;  ///< the file is of a dense model, which becomes a mixture of experts

  friend bool operator==(const StartConfig&, const StartConfig&) = default;
};

struct OptimizerConfig {
  OptimizerKind kind = OptimizerKind::adamw;  ///< of the matrices of linear layers; AdamW for all else
  double lr = 6e-4;
  double min_lr = 0;
  int64_t warmup = 0;
  LrScheduleKind schedule = LrScheduleKind::cosine;
  double decay_fraction = 0.1;  ///< WSD: share of the steps that decays
  double weight_decay = 0.1;    ///< on matrices and embeddings only
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double clip = 1.0;   ///< largest global gradient norm; 0: no clipping
  double muon_lr = 0;  ///< of what Muon updates, at the peak of the schedule; 0 until complete(): lr
  double muon_momentum = 0.95;
  bool muon_nesterov = true;
  int muon_ns_steps = 5;                ///< Newton-Schulz iterations
  std::optional<DType> muon_precision;  ///< of their products; none: fp32 where training is, else bf16
  std::vector<ParameterRule> rules;     ///< applied after those that follow from `kind`

  friend bool operator==(const OptimizerConfig&, const OptimizerConfig&) = default;
};

/// When the state of a run is saved, and what stays.
struct CheckpointConfig {
  double minutes = 15;     ///< after the last one; 0: not by the clock
  int64_t every = 0;       ///< steps; 0: not by steps
  int64_t keep = 3;        ///< newest ones; 0: none is saved
  int64_t keep_every = 0;  ///< multiples of it stay; 0: none do
  bool best = false;       ///< saved and kept by validation loss
  bool async = true;       ///< files are written beside the training
  SaveFailurePolicy failure = SaveFailurePolicy::warn;
  std::string dir;  ///< empty: "checkpoints" in the run directory

  bool is_on() const { return keep > 0; }

  friend bool operator==(const CheckpointConfig&, const CheckpointConfig&) = default;
};

struct RunOptions {
  std::string dir;  ///< run directory; empty: runs/MODEL-DATA; a number is added when it exists
  /// auto, must, never, the step of a checkpoint, or the path of one. But for never the run directory is
  /// taken as it is.
  std::string resume = "never";
  DeviceKind device = DeviceKind::automatic;
  bool share_device = false;  ///< several ranks may use one GPU
  BackendKind backend = BackendKind::automatic;
  int nccl_ctas = 16;         ///< most thread blocks of a GPU that a collective of NCCL takes
  int nccl_channel_ctas = 4;  ///< and a message between two ranks
  bool cuda_graph = false;    ///< steps are captured once and submitted as one graph
  AttentionChoice attention = AttentionChoice::automatic;  ///< of GPUs
  int64_t attention_workspace_mib = 256;                   ///< the most that cuDNN's attention may take
  bool deterministic = true;  ///< off: cuDNN's attention may add up gradients in any order
  int64_t profile_step = 0;   ///< the step that is measured op by op, counted from 1; 0: none
  bool check_memory = true;   ///< a run that is predicted to need more than there is, is refused
  int threads = 0;            ///< threads a rank; 0: default_threads()

  friend bool operator==(const RunOptions&, const RunOptions&) = default;
};

/// Of `trireme verify` alone.
struct VerifyConfig {
  int64_t steps = 5;  ///< that both layouts train
  bool full = false;  ///< the model and batch as they are, not made small

  friend bool operator==(const VerifyConfig&, const VerifyConfig&) = default;
};

struct RunConfig {
  ModelConfig model;
  StartConfig start;
  DataConfig data;
  TrainConfig train;
  LossConfig loss;
  OptimizerConfig optimizer;
  ParallelPlan parallel;
  CheckpointConfig checkpoint;
  RunOptions run;
  VerifyConfig verify;

  /// Micro-batches a rank adds up before an optimizer step; of a complete configuration.
  int64_t accumulation() const { return train.global_batch / (train.micro_batch * parallel.data); }
  int64_t tokens_per_step() const { return train.global_batch * train.seq_len; }
  bool resumes() const { return run.resume != "never"; }

  friend bool operator==(const RunConfig&, const RunConfig&) = default;
};

}  // namespace trireme

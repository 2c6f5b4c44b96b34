// The configuration of a training run: plain structs, set by the command line, read by the trainer.
// docs/options.md says of each field what it does and costs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/config/run_kinds.h"
#include "launch/config/step_range.h"
#include "models/config/distill_config.h"
#include "models/config/exit_config.h"
#include "models/config/loss_config.h"
#include "models/config/model_config.h"
#include "models/cost/teacher_memory.h"
#include "parallel/optimizer/loss_scaler.h"
#include "parallel/optimizer/lr_schedule.h"
#include "parallel/plan/parallel_plan.h"
#include "parallel/plan/parameter_rules.h"
#include "parallel/plan/recomputation.h"
#include "parallel/pruning/prune_config.h"
#include "parallel/training/nonfinite_policy.h"
#include "runtime/device/device.h"
#include "runtime/device/op_settings.h"
#include "runtime/tensor/dtype.h"
#include "runtime/watch/hang_limits.h"

namespace trireme::launch {

struct DataConfig {
  std::string text;    ///< text or JSONL to tokenize in memory; either this or tokens
  std::string tokens;  ///< token file to train on
  std::string
      valid_tokens;  ///< token file to evaluate on; empty: the last valid_fraction of the training data
  std::string format = "auto";     ///< of `text` (auto, text, jsonl) or of token files (TokenFormat)
  std::string tokenizer = "byte";  ///< a kind or a path (tokenizer_kind())
  std::string end_of_text;         ///< end-of-document token of a tokenizer file; empty: detected by name
  int64_t bpe_vocab = 4096;        ///< vocabulary size of a BPE tokenizer trained here
  double valid_fraction = 0.1;     ///< fraction held out for validation, at the end; 0: none
  DocumentsKind documents = DocumentsKind::attend;
  int64_t prefetch = 2;  ///< steps whose batches are read ahead; 0: none

  friend bool operator==(const DataConfig&, const DataConfig&) = default;
};

struct TrainConfig {
  int64_t steps = 2000;
  int64_t seq_len = 0;       ///< sequence length in tokens; 0 until complete()
  int64_t micro_batch = 8;   ///< samples per forward pass and data-parallel rank
  int64_t global_batch = 0;  ///< samples per optimizer step; 0 until complete()
  uint64_t seed = 1337;
  DType precision = DType::f32;  ///< of compute and activations; reductions are fp32
  bool master = true;  ///< fp32 master weights; without, bf16 weights are updated with stochastic rounding
  LossScaleConfig loss_scale;
  NonFinitePolicy nonfinite = NonFinitePolicy::stop;
  NonFiniteCheck check = NonFiniteCheck::step;
  bool float8 = false;               ///< FP8 products in the linear layers of blocks (Transformer)
  Recomputation recomputation;       ///< activation recomputation
  int64_t stop_after = 0;            ///< save after this step and end, to be resumed; 0: off
  int64_t eval_every = 0;            ///< steps between evaluations; 0: only at the start and at the end
  int64_t eval_batches = 0;          ///< global batches per evaluation; 0: the whole validation set
  int64_t log_every = 10;            ///< steps between printed lines; metrics.jsonl has every step
  std::string sample_prompt = "\n";  ///< prompt of the text generated at the end
  int64_t sample_tokens = 200;       ///< tokens generated at the end; 0: none

  friend bool operator==(const TrainConfig&, const TrainConfig&) = default;
};

/// When training through ModelConfig::quantization begins.
struct QatConfig {
  int64_t start_step = 0;  ///< steps before it

  friend bool operator==(const QatConfig&, const QatConfig&) = default;
};

/// A teacher beside the model that is trained: `trireme train --distill.*`.
struct DistillChoice {
  std::string teacher;  ///< what InferenceModel reads, or a directory of teacher's tokens; empty: none
  DistillConfig loss;
  /// Ranks beside those of the layout, the last of the job, that have the teacher; 0: it is on the same
  /// ranks.
  int ranks = 0;
  int tensor = 1, pipeline = 1, expert = 1;  ///< the teacher's layout; the rest of its ranks are replicas
  DType precision = DType::f32;              ///< of the teacher's passes
  std::string weights;                       ///< how the teacher's matrices are held, as --weights says
  /// Predicted, of a rank of the student; known once the teacher's files are, and no option.
  TeacherMemory memory = {};

  explicit operator bool() const { return !teacher.empty(); }

  friend bool operator==(const DistillChoice&, const DistillChoice&) = default;
};

/// The initial weights.
struct StartConfig {
  /// Safetensors under this program's names, or a directory with a checkpoint or a run's weights; empty:
  /// drawn from train.seed.
  std::string file;
  bool upcycle = false;  ///< the file is of a dense model: its feed-forward weights initialize every expert

  friend bool operator==(const StartConfig&, const StartConfig&) = default;
};

struct OptimizerConfig {
  OptimizerKind kind =
      OptimizerKind::adamw;  ///< Muon: for the matrices of linear layers, AdamW for all other parameters
  double lr = 6e-4;
  double min_lr = 0;
  int64_t warmup = 0;
  LrScheduleKind schedule = LrScheduleKind::cosine;
  double decay_fraction = 0.1;  ///< WSD: fraction of the steps, at the end, that decay
  double weight_decay = 0.1;    ///< on matrices and embeddings only
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double clip = 1.0;   ///< global gradient norm to clip to; 0: off
  double muon_lr = 0;  ///< Muon's peak learning rate; 0 until complete(): lr
  double muon_momentum = 0.95;
  bool muon_nesterov = true;
  int muon_ns_steps = 5;  ///< Newton-Schulz iterations
  std::optional<DType>
      muon_precision;                ///< dtype of their products; none: fp32 when training in fp32, else bf16
  std::vector<ParameterRule> rules;  ///< applied after the rules that `kind` implies

  friend bool operator==(const OptimizerConfig&, const OptimizerConfig&) = default;
};

/// When checkpoints are saved, and which are kept.
struct CheckpointConfig {
  double minutes = 15;     ///< save this long after the last one; 0: not by time
  int64_t every = 0;       ///< save every this many steps; 0: not by steps
  int64_t keep = 3;        ///< newest checkpoints to keep; 0: save none
  int64_t keep_every = 0;  ///< keep those of multiples of this step for good; 0: none
  bool best = false;       ///< save at each lowest validation loss, and keep the best
  bool async = true;       ///< copy and write in the background
  SaveFailurePolicy failure = SaveFailurePolicy::warn;
  SaveOverlap overlap = SaveOverlap::wait;
  std::string dir;  ///< empty: "checkpoints" in the run directory

  bool is_on() const { return keep > 0; }

  friend bool operator==(const CheckpointConfig&, const CheckpointConfig&) = default;
};

struct RunOptions {
  std::string dir;  ///< run directory; empty: runs/MODEL-DATA, with a number appended if it exists
  /// auto, must, never, or the step or path of a checkpoint. Unless it is never, an existing run directory is
  /// used.
  std::string resume = "never";
  DeviceKind device = DeviceKind::automatic;
  bool share_device = false;  ///< allow several ranks per GPU
  BackendKind backend = BackendKind::automatic;
  int nccl_ctas = 16;         ///< maximum CTAs of an NCCL collective
  int nccl_channel_ctas = 4;  ///< maximum CTAs of an NCCL message between two ranks
  bool cuda_graph = false;    ///< replay steps as CUDA graphs
  AttentionChoice attention = AttentionChoice::automatic;  ///< attention kernels on GPUs
  int64_t attention_workspace_mib = 256;                   ///< maximum workspace of cuDNN attention
  bool deterministic = true;       ///< off: cuDNN attention may sum gradients in any order
  bool breakdown = true;           ///< account for the time of all steps (docs/breakdown.md)
  int64_t profile_step = 0;        ///< step to profile op by op, counted from 1; 0: none
  StepRange trace;                 ///< steps to trace, counted from 1; none: 0 to 0
  int64_t record_calls = 256;      ///< last calls to keep of each communicator (Recorder)
  bool check_collectives = false;  ///< ranks compare their collectives before data moves
  watch::HangLimits hang_limit;    ///< time without progress after which a job ends
  std::string watch_interface;  ///< of the watchdogs: a name or an address; empty: how hosts reach each other
  bool check_memory = true;     ///< refuse a run predicted to need more memory than there is
  int threads = 0;              ///< CPU threads per rank; 0: default_threads()

  friend bool operator==(const RunOptions&, const RunOptions&) = default;
};

/// For `trireme verify` only.
struct VerifyConfig {
  int64_t steps = 5;  ///< training steps to compare
  bool full = false;  ///< compare at full size; off: a reduced model and batch

  friend bool operator==(const VerifyConfig&, const VerifyConfig&) = default;
};

struct RunConfig {
  ModelConfig model;
  StartConfig start;
  DataConfig data;
  TrainConfig train;
  QatConfig qat;
  PruneConfig prune;
  DistillChoice distill;
  LossConfig loss;
  ExitConfig exit;
  OptimizerConfig optimizer;
  ParallelPlan parallel;
  CheckpointConfig checkpoint;
  RunOptions run;
  VerifyConfig verify;

  /// Gradient accumulation steps: micro-batches per rank and optimizer step. Needs a complete configuration.
  int64_t accumulation() const { return train.global_batch / (train.micro_batch * parallel.data); }
  int64_t tokens_per_step() const { return train.global_batch * train.seq_len; }
  bool resumes() const { return run.resume != "never"; }

  friend bool operator==(const RunConfig&, const RunConfig&) = default;
};

}  // namespace trireme::launch

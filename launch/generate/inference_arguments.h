// Options of the commands that only read a model: how its weights and cache are held, layout, device.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/cli/plain_arguments.h"
#include "launch/config/run_config.h"
#include "launch/generate/exit_options.h"
#include "models/inference/inference_model.h"
#include "runtime/ops/attention/paged_attention.h"

namespace trireme::launch {

struct InferenceArguments {
  std::string path;  ///< of the model
  std::string tokenizer;
  InferenceOptions model;  ///< after complete()
  ops::CacheType cache = ops::CacheType::plain;
  int64_t cache_tokens = 0;    ///< of all sequences that run at once; 0: what they need
  int64_t batch_tokens = 512;  ///< of a forward pass
  int64_t max_sequences = 64;  ///< that run at once, at most
  int64_t memory_limit = 0;    ///< bytes of resident memory (memory_limit.h); 0: none
  int replicas = 1;            ///< that divide the work of calibration; beyond those that experts need
  RunOptions run;              ///< device, threads, backend
  ExitArguments exit;          ///< of the commands that have its options

  // As given.
  std::optional<ops::PackedFormat> weights;
  bool are_sparse = false;  ///< "bf16:sparse"
  std::optional<int64_t> group;
  bool is_asymmetric = false;
  std::optional<ops::Activations> activations;
};

/// Rows for help and parser; `arguments` outlives them.
std::vector<PlainOption> inference_options(InferenceArguments& arguments);

/// Fills in `model`. Adds to `errors` what does not go together, options without effect, and a layout that is
/// not of `world_size` ranks.
void complete(InferenceArguments& arguments, int world_size, std::vector<std::string>& errors);

/// `model`, which the layout divides; UserError (usage) naming these options where it cannot.
const ModelConfig& fitting(const ModelConfig& model, const InferenceArguments& arguments);

/// UserError (usage) for --activations where none of the loaded matrices are integers; on all ranks alike.
void check_formats(const InferenceArguments& arguments, const LoadReport& loaded);

/// CPU threads of a rank: --threads, else its share of the host's cores.
int threads_of(const RunOptions& run, int local_ranks);

}  // namespace trireme::launch

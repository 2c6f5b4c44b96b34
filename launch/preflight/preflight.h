// Checks before the first step: memory, disk space, prompt.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "launch/config/run_config.h"
#include "launch/preflight/available_memory.h"
#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme::launch {

/// What is wrong, with both figures and options that need less, when `num_ranks` ranks of a host (on a
/// device: those that share it) are predicted to need more than what is available; empty: nothing. The
/// vocabulary is known. `snapshot_bytes`: what a rank copies of its state there for a checkpoint.
std::string memory_error(const RunConfig& config, int threads_per_rank, int num_ranks,
                         const AvailableMemory& available, int64_t snapshot_bytes = 0);

/// The same for ranks that train on GPUs and copy `snapshot_bytes` each to their host for a checkpoint, which
/// has `host`.
std::string snapshot_memory_error(const RunConfig& config, int num_ranks, const AvailableMemory& host,
                                  int64_t snapshot_bytes);

/// The state of a training in a checkpoint: weights and two moments in f32.
int64_t checkpoint_bytes(const ModelConfig& model);

/// EnvironmentError when `folder` has no room for a file of this many bytes, or no file may be that large.
void check_room(const std::filesystem::path& folder, int64_t bytes);

/// Bytes of the file that the weights go into, but for its header.
int64_t model_file_bytes(const ModelConfig& model);

/// The prompt of the text at the end: `config`'s, or nothing where that is the default and means nothing to
/// the tokenizer, and then `note` says so. UserError (usage) for a prompt of the user's that it cannot take.
std::string usable_prompt(const TrainConfig& config, const Tokenizer& tokenizer, std::string& note);

}  // namespace trireme::launch

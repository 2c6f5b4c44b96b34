#include "launch/preflight/preflight.h"

#include <sys/resource.h>

#include "launch/config/memory_inputs.h"
#include "launch/preflight/memory_advice.h"
#include "launch/report/number_text.h"
#include "models/cost/model_size.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

std::string text(int64_t bytes) { return short_bytes(static_cast<double>(bytes)); }

std::string who(int num_ranks) {
  return num_ranks == 1 ? "the rank here" : fmt::format("the {} ranks here", num_ranks);
}

}  // namespace

std::string memory_error(const RunConfig& config, int threads_per_rank, int num_ranks,
                         const AvailableMemory& available, int64_t snapshot_bytes) {
  if (available.bytes == 0 || !config.run.check_memory) return "";
  const MemoryInputs inputs = memory_inputs(config, threads_per_rank);
  const int64_t rank_bytes = estimate_memory(inputs).total();
  // Stages are unequal: where all of them are here, what they take together counts.
  const bool all_are_here = num_ranks == config.parallel.world_size();
  const int64_t of_training = all_are_here
                                  ? estimate_stages_together(inputs) * (num_ranks / config.parallel.pipeline)
                                  : rank_bytes * num_ranks;
  const int64_t needed = of_training + snapshot_bytes * num_ranks;
  if (needed <= available.bytes) return "";
  const std::string advice = memory_advice(config, threads_per_rank, available.bytes / num_ranks);
  return fmt::format(
      "{} {} predicted to need {}, but {} has {} left{}\n"
      "  --run.check-memory off starts the run anyway",
      who(num_ranks), num_ranks == 1 ? "is" : "are", text(needed), available.of, text(available.bytes),
      advice.empty() ? "" : "\n  " + advice);
}

std::string snapshot_memory_error(const RunConfig& config, int num_ranks, const AvailableMemory& host,
                                  int64_t snapshot_bytes) {
  const int64_t needed = snapshot_bytes * num_ranks;
  if (host.bytes == 0 || !config.run.check_memory || needed <= host.bytes) return "";
  return fmt::format(
      "{} {} {} of pinned memory of the host for checkpoints, but {} has {} left\n"
      "  --checkpoint.keep 0 trains without checkpoints; --run.check-memory off starts the run anyway",
      who(num_ranks), num_ranks == 1 ? "needs" : "need", text(needed), host.of, text(host.bytes));
}

int64_t model_file_bytes(const ModelConfig& model) {
  return size_of(model).parameters * static_cast<int64_t>(sizeof(float));
}

int64_t checkpoint_bytes(const ModelConfig& model) { return 3 * model_file_bytes(model); }

void check_room(const std::filesystem::path& folder, int64_t bytes) {
  std::error_code error;
  const auto space = std::filesystem::space(folder, error);
  if (!error && space.available < static_cast<uint64_t>(bytes)) {
    throw_environment(
        "{}: No space left on device: model.safetensors needs {}, and there is {} left; free some, or "
        "use another --run.dir",
        folder.string(), text(bytes), short_bytes(static_cast<double>(space.available)));
  }
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      limit.rlim_cur < static_cast<rlim_t>(bytes)) {
    throw_environment("{}: model.safetensors needs {}, but files are limited to {} (ulimit -f)",
                      folder.string(), text(bytes), short_bytes(static_cast<double>(limit.rlim_cur)));
  }
}

std::string usable_prompt(const TrainConfig& config, const Tokenizer& tokenizer, std::string& note) {
  if (config.sample_tokens == 0) return config.sample_prompt;
  try {
    tokenizer.encode(config.sample_prompt);
    return config.sample_prompt;
  } catch (const Error& error) {
    if (config.sample_prompt != TrainConfig().sample_prompt)
      throw_usage("--train.sample-prompt cannot be encoded by the tokenizer of this run: {}", error.what());
    note =
        "the sample text starts with a token of the vocabulary instead of the default prompt, a line "
        "break, which is not in it";
    return "";
  }
}

}  // namespace trireme::launch

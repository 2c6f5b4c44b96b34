// --memory-limit: a generation that stays within so much resident memory, or is refused before it loads.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "launch/generate/inference_arguments.h"
#include "models/inference/memory_forecast.h"
#include "runtime/device/cpu/process_memory.h"

namespace trireme::launch {

/// "32MB" (10^6 bytes each), "1.5GiB" (2^30); units B, kB, MB, GB, KiB, MiB, GiB. Nothing for other texts.
std::optional<int64_t> bytes_of_text(std::string_view text);

/// What of a generation memory depends on.
struct MemoryDemand {
  cpu::ProcessMemory process;  ///< before the weights are loaded
  LoadForecast load;
  int64_t block_bytes = 0;      ///< of the cache
  int64_t cache_tokens = 0;     ///< that the texts would like, all that run at once
  int64_t least_tokens = 0;     ///< without which the longest cannot run
  int64_t longest = 0;          ///< tokens of a sequence; 0: as many as the cache has
  int64_t batch_tokens = 512;   ///< of a pass, at most
  int64_t sequences = 64;       ///< at once, at most
  int64_t least_sequences = 1;  ///< all that are needed
  int threads = 1;
};

struct MemoryPlan {
  int64_t limit = 0;
  int64_t process = 0, weights = 0, cache = 0, workspace = 0;  ///< bytes
  int64_t loading = 0;                                         ///< of weights, the most while they are loaded
  int64_t cache_tokens = 0, batch_tokens = 0, sequences = 0;

  /// Peak resident memory.
  int64_t total() const;
};

/// The largest passes and the largest cache that stay within `limit`. UserError (usage) where the smallest do
/// not: what they take, and a limit that works.
MemoryPlan plan_memory(int64_t limit, const ModelSpec& model, const InferenceArguments& arguments,
                       const MemoryDemand& demand);

/// "8.9 MiB".
std::string mib(int64_t bytes);
/// "weights 8.9 MiB, cache 3.4 MiB, workspace 2.1 MiB, program 14.0 MiB".
std::string parts_text(const MemoryPlan& plan);

/// The row of the option, for those commands that keep it.
PlainOption memory_limit_option(InferenceArguments& arguments);

/// Makes the limit's conditions true, at the start of a command: a device, and a process that holds no memory
/// that it did not ask for. Does nothing without a limit.
void begin_within_limit(InferenceArguments& arguments);

}  // namespace trireme::launch

// In which samples a run trained, so that an evaluation can take the same.
#pragma once

#include <cstdint>
#include <string>

namespace trireme::launch {

struct TrainedSamples {
  int64_t seq_len = 0;      ///< 0: not known
  int64_t micro_batch = 8;  ///< the default where it is not known
};

/// Of the run that the weights at `path` belong to (a run directory, a checkpoint or a file in one), by its
/// config.ini; nothing is known of other models.
TrainedSamples trained_samples_of(const std::string& path);

}  // namespace trireme::launch

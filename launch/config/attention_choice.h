// Chooses the attention kernels of a GPU from run.attention, run.attention-workspace-mib and
// run.deterministic.
#pragma once

#include <string>

#include "launch/config/run_config.h"

namespace trireme::launch {

/// Why cuDNN attention cannot be used in a run on any GPU, "run.attention is own"; empty where
/// it may. Of a complete configuration.
std::string why_no_cudnn(const RunConfig& config);
/// The same whatever the model.
std::string why_no_cudnn(const RunOptions& run);

/// Why it cannot serve all of the run, which run.attention cudnn asks for; empty where it may.
std::string why_not_all_by_cudnn(const RunConfig& config);

/// Settings of the ops of a rank on the device. UserError (usage) where an option can have no effect:
/// own kernels without a GPU; cuDNN, a workspace for it or sums in any order are asked for, and the device is
/// no GPU, or the program is built without cuDNN, or run.attention is own.
OpSettings choose_op_settings(const RunOptions& run, Device device);

/// Of a GPU: "cuDNN 9.19.0 where it serves, with at most 256 MiB of workspace, else own kernels;
/// deterministic", "own kernels (this program is built without cuDNN), deterministic". `why_no_cudnn` as
/// above.
std::string attention_text(const RunOptions& run, const std::string& why_no_cudnn);

}  // namespace trireme::launch

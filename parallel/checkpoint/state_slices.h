// The tensors of a training as slices: what of them this rank saves, and what it takes of a checkpoint.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/checkpoint/format/manifest.h"
#include "parallel/checkpoint/slice_source.h"
#include "parallel/module/model_part.h"
#include "parallel/optimizer/optimizer.h"
#include "parallel/plan/parallel_context.h"
#include "runtime/device/context.h"

namespace trireme {

/// "optimizer.first_moment.layers.3.attention.query.weight". Weights have the parameter's own name, and are
/// the masters where there are some: what layers compute with follows from these by rounding.
std::string state_name(const std::string& state, const std::string& parameter);
inline bool is_optimizer_state(std::string_view name) { return name.starts_with("optimizer."); }

/// What this rank saves: its own ranges of weights and optimizer state as boxes of the whole tensors, of
/// replicas an even share. Over all ranks each element of each tensor is in one slice. Buffers outlive the
/// sources, which read them when they are asked.
std::vector<SliceSource> slice_sources(const ParallelContext& parallel, ModelPart& part,
                                       std::span<const StateBuffer> optimizer);

/// What is loaded of a checkpoint.
enum class LoadedState {
  weights,                 ///< weights and masters alone
  weights_of_dense_model,  ///< the same of a dense model, for a mixture of experts (stored_name())
  all,                     ///< with every state of the optimizer
  all_but_new_optimizer    ///< states of the optimizer that the checkpoint lacks keep their values
};

/// Loads the tensors of the checkpoint `directory` into weights, masters and optimizer state, whatever the
/// layout that saved them; another type of weights is rounded. Each stored slice is read once among the ranks
/// that hold the same parameters. All ranks call it; UserError (checkpoint), equal on all, where files are
/// damaged, or tensors are missing or of another shape: the state is then worth nothing. Returns the states
/// of the optimizer that were not there.
std::vector<std::string> load_state(Context& ctx, const ParallelContext& parallel, ModelPart& part,
                                    std::span<const StateBuffer> optimizer, const std::string& directory,
                                    const Manifest& manifest, LoadedState what);

}  // namespace trireme

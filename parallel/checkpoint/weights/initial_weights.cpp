#include "parallel/checkpoint/weights/initial_weights.h"

#include <filesystem>
#include <functional>
#include <map>

#include "parallel/checkpoint/format/checkpoint_directory.h"
#include "parallel/checkpoint/load/resume.h"
#include "parallel/checkpoint/state_slices.h"
#include "parallel/checkpoint/weights/load_weights.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "runtime/base/error.h"

namespace trireme {

namespace fs = std::filesystem;

std::string find_initial_weights(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return path;
  const fs::path folder = path;
  if (fs::exists(folder / kManifestName, error)) return path;
  if (fs::exists(folder / "model.safetensors", error)) return (folder / "model.safetensors").string();
  for (const fs::path& checkpoints : {folder, folder / "checkpoints"}) {
    const auto steps = checkpoint_steps(checkpoints.string());
    if (!steps.empty()) return (checkpoints / checkpoint_name(steps.front())).string();
  }
  throw_bad_input("{} has neither a checkpoint nor model.safetensors: give one of them, or a run directory",
                  path);
}

void load_initial_weights(Context& ctx, const ParallelContext& parallel, const CheckpointedModel& model,
                          const std::string& path, bool upcycle) {
  const std::string found = find_initial_weights(path);
  if (!fs::is_directory(found)) return load_weights(ctx, model, found, upcycle);
  const Manifest manifest = read_manifest_together(parallel.world(), found);
  std::map<std::string, StoredKind, std::less<>> kinds;
  for (const StoredSlice& stored : manifest.stored.slices) {
    if (!is_optimizer_state(stored.slice.name))
      kinds.insert({stored.slice.name, {stored.slice.shape, stored.slice.dtype}});
  }
  check_weights_fit(kinds, found, model.layers, upcycle);
  load_state(ctx, parallel, model.part, {}, found, manifest,
             upcycle ? LoadedState::weights_of_dense_model : LoadedState::weights);
  set_router_states({manifest.state.router_biases, {}}, model.part);
}

}  // namespace trireme

#include <cstring>

#include "parallel/checkpoint/format/cut_range.h"
#include "parallel/checkpoint/save/share_slices.h"
#include "parallel/checkpoint/state_slices.h"
#include "parallel/module/local_ranges.h"

namespace trireme {

namespace {

/// Slices in a buffer that the same ranks hold.
struct HeldSlices {
  std::vector<Slice> slices;
  std::vector<const std::byte*> memory;  // of each: its first element
};

/// Of the ranks on the tensor axis that hold the same block the first one saves it, and of tied weights the
/// first stage.
bool is_saved_here(const ParallelContext& parallel, const Parameter& p) {
  const Communicator& width = p.expert >= 0 ? parallel.expert_tensor() : parallel.tensor();
  return !p.is_tied_copy && width.rank() % p.num_copies == 0;
}

void add(const ParallelContext& parallel, const ParameterGroup& group, const Tensor& buffer,
         const std::string& state, HeldSlices& held) {
  const auto* memory = static_cast<const std::byte*>(buffer.raw());
  for (const LocalRange& range : own_ranges(group, extent_of(group, buffer))) {
    if (!is_saved_here(parallel, *range.parameter)) continue;
    for (SliceInBuffer& part : slices_of(range, state_name(state, range.parameter->name), buffer.dtype())) {
      held.slices.push_back(std::move(part.slice));
      held.memory.push_back(memory + part.begin * static_cast<int64_t>(size_of(buffer.dtype())));
    }
  }
}

SliceSource source_of(Slice slice, const std::byte* memory) {
  return {std::move(slice),
          [memory](Stream& stream, int64_t begin, std::span<std::byte> to) {
            stream.copy(to.data(), memory + begin, to.size());
          },
          memory};
}

}  // namespace

std::string state_name(const std::string& state, const std::string& parameter) {
  return state.empty() ? parameter : "optimizer." + state + "." + parameter;
}

std::vector<SliceSource> slice_sources(const ParallelContext& parallel, ModelPart& part,
                                       std::span<const StateBuffer> optimizer) {
  std::vector<SliceSource> sources;
  for (const bool of_experts : {false, true}) {
    HeldSlices held;
    for (const ParameterGroup& group : part.storage->groups()) {
      if (group.experts == of_experts)
        add(parallel, group, group.master ? group.master : group.weights, "", held);
    }
    for (const StateBuffer& state : optimizer) {
      if (state.group->experts == of_experts) add(parallel, *state.group, state.values, state.name, held);
    }
    const ReplicaGroups& replicas =
        parallel.replicas(of_experts ? ParameterKind::expert : ParameterKind::dense);
    // Without ZeRO no state is sharded, whatever the groups are.
    const Communicator& holders = parallel.plan().zero_stage == 0 ? replicas.all() : replicas.replicate();
    for (const SharedPart& shared : share_slices(held.slices, holders.rank(), holders.size())) {
      Slice slice = held.slices[shared.slice];
      slice.box = shared.box;
      const auto begin = shared.begin * static_cast<int64_t>(size_of(slice.dtype));
      sources.push_back(source_of(std::move(slice), held.memory[shared.slice] + begin));
    }
  }
  return sources;
}

}  // namespace trireme

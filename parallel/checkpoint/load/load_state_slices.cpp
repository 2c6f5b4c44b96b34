#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <set>

#include "parallel/checkpoint/format/cut_range.h"
#include "parallel/checkpoint/load/load_plan.h"
#include "parallel/checkpoint/load/load_slices.h"
#include "parallel/checkpoint/state_slices.h"
#include "parallel/checkpoint/vote.h"
#include "parallel/checkpoint/weights/load_weights.h"
#include "parallel/module/local_ranges.h"
#include "runtime/base/error.h"
#include "runtime/base/half.h"

namespace trireme {

namespace {

/// A buffer of a group, and what it is.
struct Destination {
  const ParameterGroup* group;
  Tensor buffer;
  std::string state;  // as state_name() has it
};

std::vector<Destination> destinations_of(ModelPart& part, std::span<const StateBuffer> optimizer,
                                         bool of_experts, LoadedState what) {
  std::vector<Destination> all;
  for (const ParameterGroup& group : part.storage->groups()) {
    if (group.experts != of_experts) continue;
    all.push_back({&group, group.weights, ""});
    if (group.master && group.master.raw() != group.weights.raw()) all.push_back({&group, group.master, ""});
  }
  if (what == LoadedState::weights || what == LoadedState::weights_of_dense_model) return all;
  for (const StateBuffer& state : optimizer) {
    if (state.group->experts == of_experts) all.push_back({state.group, state.values, state.name});
  }
  return all;
}

/// What a buffer has of each parameter, on the rank with shard `shard` of the group.
std::vector<LocalRange> held_ranges(const ParameterGroup& group, BufferExtent extent, int shard) {
  if (extent == BufferExtent::sharded) {
    ParameterGroup of_rank = group;
    of_rank.shard = shard;
    return own_ranges(of_rank, extent);
  }
  std::vector<LocalRange> ranges;
  for (const auto& place : group.places) {
    int64_t begin = place.begin;
    for (const Parameter& p : place.block->members) {
      const int64_t numel = p.shape.numel();
      if (numel > 0) ranges.push_back({&p, place.bucket, begin, begin + numel, 0});
      begin += numel;
    }
  }
  return ranges;
}

template <class From, class To>
void round_elements(std::span<const std::byte> from, std::vector<std::byte>& to) {
  const size_t count = from.size() / sizeof(From);
  to.resize(count * sizeof(To));
  for (size_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, from.data() + i * sizeof(From), sizeof value);
    const To rounded(static_cast<float>(value));
    std::memcpy(to.data() + i * sizeof(To), &rounded, sizeof rounded);
  }
}

template <class From>
void round_to(DType type, std::span<const std::byte> from, std::vector<std::byte>& to) {
  if (type == DType::f32) return round_elements<From, float>(from, to);
  if (type == DType::bf16) return round_elements<From, bf16>(from, to);
  TRIREME_CHECK(type == DType::f16, "weights of {}", to_string(type));
  round_elements<From, fp16>(from, to);
}

void round_to(DType stored, DType type, std::span<const std::byte> from, std::vector<std::byte>& to) {
  if (type == DType::u8)
    throw_user(ExitCode::checkpoint, "tensors of {} are no masks, which have {}", to_string(stored),
               to_string(type));
  if (stored == DType::f32) return round_to<float>(type, from, to);
  if (stored == DType::bf16) return round_to<bf16>(type, from, to);
  if (stored != DType::f16)
    throw_user(ExitCode::checkpoint, "tensors of {} are no weights or states", to_string(stored));
  round_to<fp16>(type, from, to);
}

/// Puts parts of a stored tensor into the memory of a box of it, where its elements lie packed.
PartSink into_buffer(Context& ctx, const Box& box, DType stored, DType type, std::byte* memory) {
  if (stored == type && ctx.device().type == DeviceType::cpu)
    return into_memory(box, type, {memory, static_cast<size_t>(box.numel()) * size_of(type)});
  return [&ctx, box, stored, type, memory](const Box& part, const Box& around,
                                           std::span<const std::byte> elements) {
    std::vector<std::byte> packed(static_cast<size_t>(part.numel()) * size_of(stored)), rounded;
    copy_box(part, size_of(stored), around, elements.data(), part, packed.data());
    if (stored != type) {
      round_to(stored, type, packed, rounded);
      packed = std::move(rounded);
    }
    std::vector<int64_t> offset;
    for (int i = 0; i < part.offset.rank(); ++i) offset.push_back(part.offset[i] - box.offset[i]);
    const size_t size = size_of(type);
    for_each_run({Shape(offset), part.extent}, box.extent, [&](int64_t index, int64_t place, int64_t count) {
      ctx.stream().copy(memory + static_cast<size_t>(index) * size,
                        packed.data() + static_cast<size_t>(place) * size, static_cast<size_t>(count) * size);
    });
    ctx.stream().synchronize();
  };
}

/// Loads what belongs to one kind of parameters.
class KindLoader {
 public:
  KindLoader(Context& ctx, std::vector<Destination> destinations, const Manifest& manifest, LoadedState what)
      : ctx_(ctx),
        destinations_(std::move(destinations)),
        measures_scales_(what == LoadedState::weights || what == LoadedState::weights_of_dense_model),
        may_lack_(what == LoadedState::all_but_new_optimizer),
        upcycle_(what == LoadedState::weights_of_dense_model) {
    for (const StoredSlice& stored : manifest.stored.slices)
      types_.emplace(stored.slice.name, stored.slice.dtype);
  }

  /// Which states of the optimizer lacked some.
  const std::set<std::string>& lacking() const { return lacking_; }

  void load(Communicator& group, const std::string& directory, const Manifest& manifest) {
    std::vector<std::vector<Slice>> wanted;
    std::vector<SliceTarget> targets;
    for (int rank = 0; rank < group.size(); ++rank)
      wanted.push_back(wanted_by(rank, rank == group.rank() ? &targets : nullptr));
    const LoadPlan plan = make_load_plan(manifest.stored.slices, wanted, directory);
    load_slices(group, directory, manifest, plan, targets);
  }

 private:
  std::vector<Slice> wanted_by(int rank, std::vector<SliceTarget>* targets) {
    std::vector<Slice> wanted;
    for (const Destination& to : destinations_) {
      const ParameterGroup& group = *to.group;
      const DType type = to.buffer.dtype();
      auto* memory = static_cast<std::byte*>(to.buffer.raw());
      // Neighbours have the shards one after the other.
      for (const LocalRange& range :
           held_ranges(group, extent_of(group, to.buffer), rank % group.num_shards)) {
        const std::string parameter = stored_name(*range.parameter, upcycle_);
        if (parameter.empty()) continue;
        const std::string name = state_name(to.state, parameter);
        const auto it = types_.find(name);
        if (it == types_.end() && measures_scales_ && range.parameter->is_scale) continue;
        if (it == types_.end() && may_lack_ && !to.state.empty()) {
          lacking_.insert(to.state);
          continue;
        }
        const DType stored = it == types_.end() ? type : it->second;
        for (SliceInBuffer& part : slices_of(range, name, stored)) {
          wanted.push_back(part.slice);
          if (targets == nullptr) continue;
          std::byte* place = memory + static_cast<size_t>(part.begin) * size_of(type);
          const bool is_packed = stored == type && ctx_.device().type == DeviceType::cpu;
          targets->push_back({part.slice, into_buffer(ctx_, part.slice.box, stored, type, place),
                              is_packed ? place : nullptr});
        }
      }
    }
    return wanted;
  }

  Context& ctx_;
  std::vector<Destination> destinations_;
  bool measures_scales_;  // where the checkpoint has none
  bool may_lack_;         // tensors of the optimizer's state, which are left out then
  bool upcycle_;
  std::set<std::string> lacking_;
  std::map<std::string, DType, std::less<>> types_;
};

}  // namespace

std::vector<std::string> load_state(Context& ctx, const ParallelContext& parallel, ModelPart& part,
                                    std::span<const StateBuffer> optimizer, const std::string& directory,
                                    const Manifest& manifest, LoadedState what) {
  std::set<std::string> lacking;
  for (const bool of_experts : {false, true}) {
    std::string failure;
    try {
      std::vector<Destination> destinations = destinations_of(part, optimizer, of_experts, what);
      KindLoader loader(ctx, std::move(destinations), manifest, what);
      loader.load(parallel.replicas(of_experts ? ParameterKind::expert : ParameterKind::dense).all(),
                  directory, manifest);
      lacking.insert(loader.lacking().begin(), loader.lacking().end());
    } catch (const UserError& error) {  // of all ranks of that group alike
      failure = error.what();
    }
    failure = first_words(parallel.world(), failure);
    if (!failure.empty()) throw UserError(ExitCode::checkpoint, failure);
  }
  part.storage->forget_whole_weights();
  return {lacking.begin(), lacking.end()};
}

}  // namespace trireme

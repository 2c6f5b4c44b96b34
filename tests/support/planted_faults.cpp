#include "tests/support/planted_faults.h"

#include <algorithm>

#include <fmt/format.h>

#include "models/cost/layer_placement.h"
#include "runtime/base/philox.h"
#include "runtime/comm/comm_call.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/training/cross_entropy.h"

namespace trireme::test {

using namespace launch;

namespace {

constexpr std::string_view kNames[] = {
    "missing all-reduce", "scaled output",     "scaled gradient", "scaled weights",   "scaled expert",
    "shifted position",   "wrong micro-batch", "stale weight",    "unsummed replica", "wrong loss weight"};

std::string layer_name(size_t layer, const ModelConfig& model) {
  if (layer == 0) return "embedding";
  return static_cast<int64_t>(layer) == model.num_layers + 1 ? "head" : fmt::format("layers.{}", layer - 1);
}

std::vector<std::string> parameters_of(size_t layer, const ModelConfig& model) {
  std::vector<std::string> names;
  const auto layers = parameters_by_layer(model);
  for (const Parameter& p : layers[layer]) names.push_back(p.name);
  if (layer + 1 == layers.size() && model.tied_embeddings) names.push_back(layers[0][0].name);
  return names;
}

void scale(const Tensor& t, double factor) {
  const auto scaled = [&]<class T>(T* values) {
    for (int64_t i = 0; i < t.numel(); ++i)
      values[i] = T(static_cast<float>(static_cast<double>(values[i]) * factor));
  };
  if (t.dtype() == DType::f32) scaled(t.data<float>());
  if (t.dtype() == DType::bf16) scaled(t.data<bf16>());
  if (t.dtype() == DType::f16) scaled(t.data<fp16>());
}

}  // namespace

/// What a rank does, as hooks and observer of its run; its communicators ask it too.
class FaultOfRank::Part final : public RunHooks, public StageObserver {
 public:
  Part(const PlantedFault& fault, const RunConfig& config, int rank)
      : fault_(fault), config_(config), is_target_(rank == fault.rank || fault.is_everywhere), rank_(rank) {}

  void made(Context&, Transformer& model) override {
    placement_ = model.placement();
    for (Stage& stage : model.part().chunks) stage.observe(*this);
  }
  void before_passes(int64_t step, Context& ctx, Transformer&, std::vector<MicroBatch>& batches) override {
    acts_ = step >= fault_.step;
    num_reduced_ = 0;
    if (!acts_ || !is_target_) return;
    MicroBatch& mb = batches[static_cast<size_t>(fault_.micro_batch)];
    const size_t row = static_cast<size_t>(fault_.number % mb.rows());
    if (fault_.kind == FaultKind::shifted_position) {
      auto positions = ops::to_host<int32_t>(ctx, mb.positions);
      positions[row] += positions[row] > 0 ? -1 : 1;
      ops::write(ctx, positions, mb.positions);
      act({"embedding", "layers.0"});
    }
    if (fault_.kind == FaultKind::wrong_micro_batch) {
      mb.tokens = batches[static_cast<size_t>(fault_.micro_batch + 1) % batches.size()].tokens;
      act({"embedding"});
    }
    if (fault_.kind == FaultKind::wrong_loss_weight) {
      auto targets = ops::to_host<int32_t>(ctx, mb.targets);
      const auto counted = std::ranges::find_if(targets, [](int32_t t) { return t != ops::kIgnoredTarget; });
      if (counted == targets.end()) return;
      *counted = ops::kIgnoredTarget;
      ops::write(ctx, targets, mb.targets);
      act({"head", "loss"});
    }
  }
  void enter(int64_t index, const MicroBatch&, int stage) override {
    index_ = index;
    first_layer_ = static_cast<size_t>(placement_[static_cast<size_t>(stage)]);
  }
  void before_forward(Context&, const ObservedLayer& layer) override {
    is_forward_ = true;
    layer_ = first_layer_ + layer.index;
  }
  void after_forward(Context&, const ObservedLayer& layer, const Tensor& y) override {
    is_forward_ = false;
    if (fault_.kind == FaultKind::scaled_output && y && is_here(layer)) act_on(y, {"the output of"});
  }
  void after_backward_input(Context&, const ObservedLayer& layer, const Tensor& dx) override {
    if (fault_.kind == FaultKind::scaled_gradient && dx && is_here(layer)) act_on(dx, {"the output of"});
  }
  void after_backward_weight(Context&, const ObservedLayer& layer) override {
    if (!is_here(layer)) return;
    for (ParameterBlock* block : layer.blocks) {
      if (fault_.kind == FaultKind::scaled_weights && !block->is_of_experts())
        scale(block->gradient, fault_.scale);
      if (fault_.kind == FaultKind::unsummed_replica) scale(block->gradient, 0);
      if (fault_.kind != FaultKind::scaled_expert || !block->is_of_experts()) continue;
      scale_expert(*block);
    }
    if (fault_.kind == FaultKind::scaled_weights || fault_.kind == FaultKind::unsummed_replica)
      act(parameters_of(fault_.layer, config_.model));
  }
  void before_update(int64_t, Context& ctx, Transformer& model) override {
    if (fault_.kind != FaultKind::stale_weight || !acts_ || !is_target_) return;
    const auto names = parameters_of(fault_.layer, config_.model);
    std::vector<const ParameterView*> held;
    for (const ParameterView& view : model.storage().parameters()) {
      if (std::ranges::find(names, view.parameter->name) != names.end() &&
          !view.group->is_sharded(view.group->weights))
        held.push_back(&view);
    }
    if (held.empty()) return;
    stale_ = held[static_cast<size_t>(fault_.number) % held.size()];
    old_ = ops::to_host_f32(ctx, weights_of(*stale_));
    old_master_ = stale_->master ? ops::to_host_f32(ctx, stale_->master) : std::vector<float>();
  }
  void after_update(int64_t, Context& ctx, Transformer&) override {
    if (stale_ == nullptr || ops::to_host_f32(ctx, weights_of(*stale_)) == old_) return;
    const auto write_back = [&](const std::vector<float>& values, const Tensor& t) {
      const Tensor wide = ops::to_device(ctx, values, t.shape());
      ops::copy(ctx, wide, t);
    };
    write_back(old_, weights_of(*stale_));
    if (stale_->master) write_back(old_master_, stale_->master);
    act({stale_->parameter->name});
    stale_ = nullptr;
  }

  /// Whether this all-reduce of the tensor-parallel ranks is the one that does not happen; those of a group
  /// agree.
  bool drops(const CommCall& call) {
    if (fault_.kind != FaultKind::missing_all_reduce || !acts_ || !is_forward_) return false;
    const int tensor = config_.parallel.tensor;
    if (rank_ / tensor != fault_.rank / tensor || call.kind != CommKind::all_reduce ||
        call.op != ReduceOp::sum)
      return false;
    if (layer_ != fault_.layer || num_reduced_++ != fault_.number) return false;
    act({layer_name(layer_, config_.model), "loss"});
    return true;
  }

  std::vector<std::string> places() const { return places_; }

 private:
  bool is_of_weights() const {
    return fault_.kind == FaultKind::scaled_weights || fault_.kind == FaultKind::scaled_expert ||
           fault_.kind == FaultKind::unsummed_replica;
  }
  bool is_here(const ObservedLayer& layer) const {
    return acts_ && is_target_ && first_layer_ + layer.index == fault_.layer &&
           (index_ == fault_.micro_batch || is_of_weights());
  }
  void scale_expert(const ParameterBlock& block) {
    const auto n = std::ssize(block.members), rows = block.gradient.dim(0) / n;
    for (int64_t i = 0; i < n; ++i) {
      const Parameter& p = block.members[static_cast<size_t>(i)];
      if (p.expert != fault_.number % config_.model.moe.num_experts) continue;
      const Tensor gradient = block.gradient.slice(i * rows, (i + 1) * rows);
      const float* values = gradient.data<float>();
      if (std::all_of(values, values + gradient.numel(), [](float g) { return g == 0; })) continue;
      scale(gradient, fault_.scale);
      places_.push_back(p.name);
    }
  }
  void act(const std::vector<std::string>& places) { places_ = places; }
  void act_on(const Tensor& t, const std::vector<std::string>& words) {
    scale(t, fault_.scale);
    const auto of_rank = config_.parallel.tensor * config_.parallel.context;
    const int replica = rank_ / of_rank % config_.parallel.data;
    places_ = {fmt::format("{} {}, in the {} pass of micro-batch ", words[0],
                           layer_name(fault_.layer, config_.model),
                           fault_.kind == FaultKind::scaled_output ? "forward" : "backward")};
    if (!fault_.is_everywhere)
      places_[0] += fmt::format("{} ", fault_.micro_batch * config_.parallel.data + replica);
  }
  static Tensor weights_of(const ParameterView& view) {
    return view.group->weights.slice(view.begin, view.begin + view.parameter->shape.numel());
  }

  PlantedFault fault_;
  const RunConfig& config_;
  bool is_target_;
  int rank_;
  std::vector<int> placement_;
  bool acts_ = false, is_forward_ = false;
  int64_t index_ = 0, num_reduced_ = 0;
  size_t first_layer_ = 0, layer_ = 0;
  const ParameterView* stale_ = nullptr;
  std::vector<float> old_, old_master_;
  std::vector<std::string> places_;
};

/// Hands all calls on but the one that the fault drops.
class FaultOfRank::Ranks final : public Communicator {
 public:
  Ranks(Communicator& ranks, Part& part)
      : Communicator(ranks.rank(), ranks.size(), ranks.name()), ranks_(ranks), part_(part) {}
  Ranks(std::unique_ptr<Communicator> owned, Part& part) : Ranks(*owned, part) { owned_ = std::move(owned); }

  std::string_view backend() const override { return ranks_.backend(); }
  std::vector<int> world_ranks() const override { return ranks_.world_ranks(); }
  void abort(std::string_view reason, ExitCode code) noexcept override { ranks_.abort(reason, code); }

 private:
  class Nothing final : public Work {
   public:
    void wait() override {}
    bool is_done() override { return true; }
  };
  bool drops(const CommCall& call) { return name() == "tensor" && part_.drops(call); }
  void run(Stream& stream, CommCall call) override {
    if (call.kind == CommKind::barrier) return ranks_.barrier(stream);
    if (!drops(call)) start_there(stream, call)->wait();
  }
  WorkPtr start(Stream& stream, CommCall call) override {
    return drops(call) ? std::make_shared<Nothing>() : start_there(stream, call);
  }
  WorkPtr start_there(Stream& stream, const CommCall& call) {
    switch (call.kind) {
      case CommKind::all_reduce:
        return ranks_.all_reduce_async(stream, call.out, call.op);
      case CommKind::all_gather:
        return ranks_.all_gather_async(stream, call.in, call.out);
      case CommKind::reduce_scatter:
        return ranks_.reduce_scatter_async(stream, call.in, call.out, call.op);
      case CommKind::broadcast:
        return ranks_.broadcast_async(stream, call.out, call.peer);
      case CommKind::all_to_all:
        return ranks_.all_to_all_async(stream, call.in, call.out);
      case CommKind::all_to_all_v:
        return ranks_.all_to_all_v_async(stream, call.in, call.send_counts, call.out, call.receive_counts);
      case CommKind::send:
        return ranks_.send_async(stream, call.in, call.peer, call.label);
      case CommKind::receive:
        return ranks_.receive_async(stream, call.out, call.peer, call.label);
      default:
        throw InternalError("a call that is not handed on");
    }
  }
  std::unique_ptr<Communicator> split_into(int color, int key, std::string name) override {
    return std::make_unique<Ranks>(ranks_.split(color, key, std::move(name)), part_);
  }

  std::unique_ptr<Communicator> owned_;
  Communicator& ranks_;
  Part& part_;
};

FaultOfRank::FaultOfRank(const PlantedFault& fault, const RunConfig& config, Communicator& ranks)
    : part_(std::make_unique<Part>(fault, config, ranks.rank())),
      world_(std::make_unique<Ranks>(ranks, *part_)) {}
FaultOfRank::~FaultOfRank() = default;
Communicator& FaultOfRank::world() { return *world_; }
RunHooks* FaultOfRank::hooks() { return part_.get(); }
std::vector<std::string> FaultOfRank::places() const { return part_->places(); }

std::string text_of(const PlantedFault& f) {
  return fmt::format("{} {:.1e} on rank {} from step {} on: layer {}, micro-batch {}, number {}",
                     kNames[static_cast<size_t>(f.kind)], f.scale - 1, f.rank, f.step + 1, f.layer,
                     f.micro_batch, f.number);
}

PlantedFault draw_fault(RunConfig& config, uint64_t seed) {
  uint64_t next = 0;
  const auto below = [&](int64_t n) {
    return static_cast<int64_t>(philox4x32(seed, next++, 0xfa17)[0] % static_cast<uint32_t>(n));
  };
  const ParallelPlan& plan = config.parallel;
  const MoeConfig& moe = config.model.moe;
  PlantedFault fault;
  auto kind = static_cast<int>(seed % 10);
  const auto is_possible = [&](FaultKind k) {
    switch (k) {
      case FaultKind::missing_all_reduce:
        return plan.tensor > 1 && !plan.sequence;
      case FaultKind::scaled_expert:
        return moe.num_experts > 0;
      case FaultKind::wrong_micro_batch:
        return config.accumulation() > 1;
      case FaultKind::stale_weight:
        return plan.zero_stage < 3;
      default:
        return true;
    }
  };
  while (!is_possible(static_cast<FaultKind>(kind))) kind = (kind + 1) % 10;
  fault.kind = static_cast<FaultKind>(kind);
  fault.step = below(5) == 0 ? 2 + below(2) : below(2);
  config.train.steps = std::max(config.train.steps, fault.step + 1);
  fault.micro_batch = below(config.accumulation());
  fault.number = below(97);
  fault.scale = 1 + 1e-4;
  // Everything before its layer's place on the way decides which ranks can have it.
  const int64_t num_layers = config.model.num_layers + 2;
  fault.layer = static_cast<size_t>(below(num_layers));
  if (fault.kind == FaultKind::scaled_output) fault.layer = static_cast<size_t>(below(num_layers - 1));
  if (fault.kind == FaultKind::scaled_gradient) fault.layer = 1 + static_cast<size_t>(below(num_layers - 1));
  if (fault.kind == FaultKind::shifted_position || fault.kind == FaultKind::wrong_micro_batch)
    fault.layer = 0;
  if (fault.kind == FaultKind::wrong_loss_weight) fault.layer = static_cast<size_t>(num_layers - 1);
  if (fault.kind == FaultKind::scaled_expert) {
    const auto has_experts = [&](size_t layer) {
      const auto block = static_cast<int64_t>(layer) - 1;
      return block >= 0 && block < config.model.num_layers && moe.is_in(block);
    };
    while (!has_experts(fault.layer)) fault.layer = 1 + fault.layer % static_cast<size_t>(num_layers - 2);
  }
  if (fault.kind == FaultKind::missing_all_reduce) {
    fault.layer = static_cast<size_t>(below(num_layers - 1));
    fault.number = 0;
  }
  const int per_stage = plan.world_size() / plan.pipeline;
  const std::vector<int> begins = layer_placement(config.model, config.train.seq_len, plan);
  int stage = 0;
  while (begins[static_cast<size_t>(stage) + 1] <= static_cast<int>(fault.layer)) ++stage;
  fault.rank = stage % plan.pipeline * per_stage + static_cast<int>(below(per_stage));
  return fault;
}

}  // namespace trireme::test

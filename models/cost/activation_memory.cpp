#include "models/cost/activation_memory.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "models/spec/describe_activations.h"

namespace trireme {

namespace {

// Activations and buffers. In double: absurd sizes are to be shown as such, not to overflow.
using Bytes = std::array<double, 2>;

size_t index_of(MemoryCategory category) { return category == MemoryCategory::activations ? 0 : 1; }

/// What a pass does to the bytes in use: how many more there are in the end, and at most on the way.
struct Effect {
  Bytes change{}, rise{};

  Effect() = default;
  explicit Effect(const MemoryTrace& trace) {
    for (const MemoryEvent& event : trace) {
      const size_t i = index_of(event.category);
      change[i] += static_cast<double>(event.bytes);
      rise[i] = std::max(rise[i], change[i]);
    }
  }
};

struct LayerEffects {
  Effect forward, backward_input, backward_weight;
  bool keeps_gradient = false;

  explicit LayerEffects(const LayerTraces& traces)
      : forward(traces.forward),
        backward_input(traces.backward_input),
        backward_weight(traces.backward_weight),
        keeps_gradient(traces.keeps_gradient) {}
};

/// The layers of a model by their place in the row: embedding, blocks, head. Blocks that are alike are
/// described once.
class Layers {
 public:
  explicit Layers(const MemoryInputs& in)
      : model_(spec_of(in.model)), conditions_(conditions_of(in)), recomputation_(in.recomputation) {}

  static LayerConditions conditions_of(const MemoryInputs& in) {
    return {.precision = in.precision,
            .micro_batch = in.micro_batch,
            .seq_len = in.seq_len,
            .plan = in.plan,
            .recomputes_core = in.recomputation.of_attention(),
            .float8 = in.float8,
            .loss = in.loss,
            .kept_streams = kept_streams(in.model, in.exits),
            .separate_documents = in.separate_documents,
            .threads = in.threads,
            .attention_workspace = in.attention_workspace,
            .deterministic_attention = in.deterministic_attention,
            .load = in.expert_load};
  }
  int64_t size() const { return model_.num_blocks() + 2; }
  double boundary() const { return static_cast<double>(boundary_bytes(model_, conditions_)); }

  size_t find(int64_t place) {
    if (place == 0) return add({place, false}, [&] { return describe_embedding(model_, conditions_); });
    if (place == size() - 1) return add({place, false}, [&] { return describe_head(model_, conditions_); });
    const BlockSpec& block = model_.blocks[static_cast<size_t>(place - 1)];
    const bool recomputed = recomputation_.of_block(place - 1);
    for (const Known& known : known_) {
      if (known.place > 0 && known.place < size() - 1 && known.recomputed == recomputed &&
          model_.blocks[static_cast<size_t>(known.place - 1)].is_like(block))
        return static_cast<size_t>(&known - known_.data());
    }
    return add({place, recomputed}, [&] { return describe_block(model_, block, conditions_, recomputed); });
  }
  const LayerEffects& operator[](size_t kind) const { return effects_[kind]; }

 private:
  struct Known {
    int64_t place;
    bool recomputed;
  };
  template <class Describe>
  size_t add(const Known& known, Describe&& describe) {
    known_.push_back(known);
    effects_.emplace_back(describe());
    return effects_.size() - 1;
  }

  ModelSpec model_;
  LayerConditions conditions_;
  Recomputation recomputation_;
  std::vector<Known> known_;
  std::vector<LayerEffects> effects_;
};

/// Of a chunk: which streams are kept for exits where (ExitLayer, ExitStreams). Bytes beside those of the
/// stream itself.
struct ChunkExits {
  double kept = 0;                   ///< of all kept streams; 0: the chunk has to do with none
  bool receives = false;             ///< they come with the chunk's input
  bool sends = false;                ///< and go on with its output
  std::vector<bool> is_exit, drops;  ///< by layer

  ChunkExits(const MemoryInputs& in, int64_t begin, int64_t end, double boundary) {
    const std::vector<int64_t>& exits = in.model.exits;
    const int64_t num_streams = kept_streams(in.model, in.exits);
    const bool has = num_streams > 0 && exits.front() < end;
    if (has) kept = static_cast<double>(num_streams) * boundary;
    receives = has && exits.front() < begin;
    sends = has && end < in.model.num_layers + 2;
    for (int64_t place = begin; place < end; ++place) {
      is_exit.push_back(has && std::ranges::count(exits, place) > 0);
      drops.push_back(place > 0 && place <= in.model.num_layers &&
                      in.exits.dropout_of(place - 1, in.model.num_layers) > 0);
    }
  }
  double before() const { return receives ? kept : 0; }
  double behind() const { return sends ? kept : 0; }
  bool begins(size_t layer) const {
    if (kept == 0 || receives) return kept > 0 && layer == 0;
    return is_exit[layer] && std::find(is_exit.begin(), is_exit.begin() + static_cast<int64_t>(layer),
                                       true) == is_exit.begin() + static_cast<int64_t>(layer);
  }
};

/// PipelineExecutor and Stage in bytes.
class SimulatedStage {
 public:
  SimulatedStage(const MemoryInputs& in, int num_chunks) : layers_(in) {
    boundary_ = layers_.boundary();
    for (int chunk = 0; chunk < num_chunks; ++chunk) {
      const auto [begin, end] = in.layers_of(static_cast<size_t>(chunk));
      auto& kinds = chunks_.emplace_back();
      for (int64_t place = begin; place < end; ++place) kinds.push_back(layers_.find(place));
      ends_in_loss_.push_back(end == layers_.size());
      exits_.emplace_back(in, begin, end, boundary_);
    }
  }

  Bytes run(const std::vector<Action>& actions) {
    for (size_t i = 0; i < actions.size(); ++i) {
      if (is_compute(actions[i].kind)) {
        post_receives(actions, i);
        take(-std::exchange(sent_, 0));
        compute(actions[i]);
      } else if (is_send(actions[i].kind)) {
        sent_ += message(actions[i]);
      } else if (i >= posted_) {
        take(message(actions[i]));
      }
    }
    return peak_;
  }

 private:
  // Those of the next computation, when the one before it begins.
  void post_receives(const std::vector<Action>& actions, size_t position) {
    for (posted_ = std::max(posted_, position + 1);
         posted_ < actions.size() && !is_compute(actions[posted_].kind); ++posted_) {
      if (is_receive(actions[posted_].kind)) take(message(actions[posted_]));
    }
  }

  double message(const Action& action) const {
    const ChunkExits& exits = exits_[static_cast<size_t>(action.chunk)];
    const bool is_before =
        action.kind == ActionKind::receive_activation || action.kind == ActionKind::send_gradient;
    return boundary_ + (is_before ? exits.before() : exits.behind());
  }

  // What came is one tensor, which the chunk's first layer keeps.
  void forward(const std::vector<size_t>& kinds, const ChunkExits& exits) {
    for (size_t i = 0; i < kinds.size(); ++i) {
      apply(layers_[kinds[i]].forward);
      if (exits.begins(i) && !exits.receives) take(exits.kept);
    }
    if (exits.sends) take(boundary_ + exits.kept);
    if (exits.sends) take(-boundary_);
    if (exits.kept > 0 && !exits.receives) take(-exits.kept);  // they are joined with the stream
  }

  void compute(const Action& action) {
    const auto& kinds = chunks_[static_cast<size_t>(action.chunk)];
    const ChunkExits& exits = exits_[static_cast<size_t>(action.chunk)];
    if (action.kind == ActionKind::forward) return forward(kinds, exits);
    // The executor holds the gradient that came until the chunk is through; within the chunk's last layer it
    // is among that layer's own. Nothing came where the loss is.
    const bool came =
        action.kind != ActionKind::backward_weight && !ends_in_loss_[static_cast<size_t>(action.chunk)];
    double held = 0;
    for (size_t i = kinds.size(); i-- > 0;) {
      const LayerEffects& layer = layers_[kinds[i]];
      const bool gives_input = action.kind != ActionKind::backward_weight;
      const double copies = (exits.is_exit[i] ? boundary_ : 0) + (exits.drops[i] ? boundary_ : 0);
      if (gives_input && copies > 0) take(copies);
      if (gives_input) apply(layer.backward_input);
      if (gives_input && exits.begins(i) && exits.receives) {  // the gradients are joined
        take(boundary_ + exits.kept);
        take(-boundary_ - exits.kept);  // the one of what came, and what came
      }
      if (gives_input && exits.begins(i) && !exits.sends) take(-exits.kept);
      if (gives_input && copies > 0) take(-copies);
      if (action.kind != ActionKind::backward_input) apply(layer.backward_weight);
      const bool gave_back = action.kind == ActionKind::backward || !layer.keeps_gradient;
      if (came && i + 1 == kinds.size() && gave_back) take(held = boundary_);
    }
    take(-held);
    if (came && exits.sends) take(-exits.kept);
  }

  void apply(const Effect& effect) {
    for (size_t i = 0; i < now_.size(); ++i) {
      peak_[i] = std::max(peak_[i], now_[i] + effect.rise[i]);
      now_[i] += effect.change[i];
    }
  }
  void take(double activations) {
    now_[0] += activations;
    peak_[0] = std::max(peak_[0], now_[0]);
  }

  Layers layers_;
  std::vector<std::vector<size_t>> chunks_;  // kinds of layers
  std::vector<bool> ends_in_loss_;           // of a chunk
  std::vector<ChunkExits> exits_;
  double boundary_ = 0;
  size_t posted_ = 0;  // receives before this position are posted
  double sent_ = 0;    // what waits to be let go of
  Bytes now_{}, peak_{};
};

}  // namespace

PassPeaks simulate_passes(const MemoryInputs& in) {
  const std::shared_ptr<const Schedule> schedule = schedule_of(in);
  const Bytes peak =
      SimulatedStage(in, schedule->num_chunks).run(schedule->actions_of_stage[static_cast<size_t>(in.stage)]);
  const auto whole = [](double bytes) { return static_cast<int64_t>(std::min(bytes, 1e18)); };
  return {whole(peak[0]), whole(peak[1])};
}

}  // namespace trireme

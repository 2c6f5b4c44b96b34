// Locates the first NaN or Inf of a step.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "parallel/module/parameter_storage.h"
#include "parallel/module/stage_observer.h"
#include "runtime/comm/communicator.h"

namespace trireme {

enum class NonFiniteKind : int64_t { weight, activation, gradient };
std::string_view to_string(NonFiniteKind kind);

struct NonFinite {
  NonFiniteKind kind = NonFiniteKind::weight;
  std::string layer;    ///< "layers.3"; empty for what belongs to no layer: sums over ranks, stored weights
  std::string tensor;   ///< "output", "loss", "input gradient", or the name of a parameter
  int64_t element = 0;  ///< index in the tensor as the rank holds it, or in the whole tensor of a parameter
  int rank = 0;         ///< of the world
  int64_t micro_batch = -1;                   ///< of the step on that rank; -1: of no micro-batch
  int64_t first_sample = 0, num_samples = 0;  ///< of the micro-batch

  friend bool operator==(const NonFinite&, const NonFinite&) = default;
};

/// "activation: output of layers.3, element 17, on rank 1, micro-batch 0 (samples 4 to 5)".
std::string describe(const NonFinite& found);

/// Finds the first non-finite value of a step. Before a layer's forward pass it checks the layer's
/// weights, after it at the output (after the last at the loss), in the backward pass at the input's
/// gradient and at those of weights. It sees a rank's own tensors, before any sum over data-parallel ranks,
/// so that the rank it names is the one that produced the value.
class NonFiniteFinder final : public StageObserver {
 public:
  explicit NonFiniteFinder(int world_rank) : rank_(world_rank) {}

  void enter(int64_t index, const MicroBatch& micro_batch, int stage) override;
  void before_forward(Context& ctx, const ObservedLayer& layer) override;
  void after_forward(Context& ctx, const ObservedLayer& layer, const Tensor& y) override;
  void after_backward_input(Context& ctx, const ObservedLayer& layer, const Tensor& dx) override;
  void after_backward_weight(Context& ctx, const ObservedLayer& layer) override;

  /// Checks the reduced gradients: sums of finite values can overflow.
  void check_sums(Context& ctx, const ParameterStorage& storage);
  /// Checks the weights.
  void check_weights(Context& ctx, const ParameterStorage& storage);

  void clear() { found_.reset(); }
  bool has_found() const { return found_.has_value(); }
  /// The earliest value that any rank of `world` found: earlier micro-batches first, then in the order in
  /// which a micro-batch runs through the model and back; after all of these gradients of weights, from
  /// which nothing else in a step follows; then sums. Of ranks that found the same, the lowest. Equal on all
  /// ranks, each of which calls it.
  std::optional<NonFinite> agree(Context& ctx, Communicator& world) const;

 private:
  // What follows from what, micro-batch, forward (0) or backward (1), place of the stage, of the layer, and
  // within it: compared in this order.
  enum Class : int64_t { passing, accumulated, summed };
  using Key = std::array<int64_t, 6>;
  struct Found {
    Key key;
    NonFinite what;
  };
  void check_own_shard(Context& ctx, const ParameterView& view, const Tensor& buffer, NonFiniteKind kind);
  bool look(Context& ctx, const Tensor& t, const Key& key, NonFinite what);
  void check_gradients(Context& ctx, const ObservedLayer& layer, bool vectors_only);
  Key forward_key(const ObservedLayer& layer, int64_t within) const;
  Key backward_key(const ObservedLayer& layer, Class what) const;
  NonFinite here(NonFiniteKind kind, const ObservedLayer& layer, std::string tensor) const;

  int rank_;
  int64_t index_ = 0;
  int64_t stage_ = 0;
  int64_t first_sample_ = 0, num_samples_ = 0;
  Tensor loss_sum_;
  std::optional<Found> found_;
};

}  // namespace trireme

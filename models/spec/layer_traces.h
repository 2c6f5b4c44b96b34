// What the parts of a layer make and let go of: each class follows the part of models/layers or
// parallel/tensor_parallel whose name it bears, call by call, with sizes in the place of numbers.
#pragma once

#include <optional>

#include "models/spec/memory_trace.h"
#include "models/spec/rank_sizes.h"

namespace trireme::traces {

using Held = TraceRecorder::Held;

/// What all parts of a layer need: where to write, and how much a rank has.
struct Scene {
  TraceRecorder& recorder;
  LayerConditions conditions;  ///< its own: callers pass temporaries
  RankSizes sizes;

  Scene(TraceRecorder& to, const ModelSpec& model, const LayerConditions& layer_conditions)
      : recorder(to), conditions(layer_conditions), sizes(model, layer_conditions) {}
  /// rows x width in the compute type.
  Held make(int64_t rows, int64_t width) const { return recorder.make(rows, width, sizes.type); }
  Held floats(int64_t rows, int64_t width = 1) const { return recorder.make(rows, width, DType::f32); }
  Held buffer(int64_t rows, int64_t width, DType dtype = DType::f32) const {
    return recorder.buffer(rows, width, dtype);
  }
  Held outer() const { return make(sizes.outer_rows, sizes.hidden); }

  // TensorParallel ---------------------------------------------------------------------------------------
  Held gather(const Held& x, int64_t width) const;  ///< all rows
  Held reduce(Held all, int64_t width) const;       ///< a sum: the rank's own rows
  Held gather_product(const Held& x, int64_t width, bool keep) const;
  Held reduce_product(int64_t width) const;
  /// Both factors of a product in fp8, [m, k] and [k, n].
  void product(int64_t m, int64_t k, int64_t n) const;

  // QuantizedWeight [outputs, inputs] ---------------------------------------------------------------------
  Held codes(int64_t outputs, int64_t inputs) const;    ///< while a forward product runs
  Held values(int64_t outputs, int64_t inputs) const;   ///< while one of the backward pass does
  Held dvalues(int64_t outputs, int64_t inputs) const;  ///< while weights get their gradient
};

class Norm {
 public:
  Norm(const Scene& scene, const NormSpec& spec) : s_(scene), spec_(spec) {}
  struct Output {
    Held sum, y;
  };
  Output forward(const Held& x, bool has_residual);
  Held backward();

 private:
  const Scene& s_;
  NormSpec spec_;
  Held sum_, mean_, rstd_;
};

class ColumnLinear {
 public:
  ColumnLinear(const Scene& scene, int64_t inputs, int64_t outputs)
      : s_(scene), inputs_(inputs), outputs_(outputs) {}
  void forward_into(const Held& x);
  Held forward(const Held& x);
  Held backward_input(const Held& dy);
  void backward_weight();

 private:
  const Scene& s_;
  int64_t inputs_, outputs_;
  Held x_, dy_;
};

class RowLinear {
 public:
  RowLinear(const Scene& scene, int64_t inputs, int64_t outputs)
      : s_(scene), inputs_(inputs), outputs_(outputs) {}
  Held forward(const Held& x);
  void keep_input(Held x) { x_ = std::move(x); }
  Held backward_input(const Held& dy);
  void backward_weight();

 private:
  const Scene& s_;
  int64_t inputs_, outputs_;
  Held x_, dy_;
};

class Attention {
 public:
  Attention(const Scene& scene, const AttentionSpec& spec);
  Held forward(const Held& x);
  Held backward_input(const Held& dy);
  void backward_weight();

 private:
  void attend();
  Held attend_backward();
  void core_backward(int64_t length, int64_t batch) const;
  void ring_backward() const;
  void limited_ring_backward() const;

  const Scene& s_;
  HeadSizes heads_;
  int64_t window_;
  ops::KeyPattern pattern_;
  bool normalises_, of_all_heads_, recomputes_core_;
  ColumnLinear qkv_linear_;
  RowLinear output_;
  Held qkv_, raw_, rstd_, out_, lse_;
};

class Convolution {
 public:
  Convolution(const Scene& scene, const ConvolutionSpec& spec);
  Held forward(const Held& x);
  Held backward_input(const Held& dy);
  void backward_weight();

 private:
  Held neighbours(DType type) const;

  const Scene& s_;
  int64_t width_, kernel_, lead_;  // of the rank; rows before its chunks
  ColumnLinear in_;
  RowLinear output_;
  Held abx_, before_;
};

class FeedForward {
 public:
  FeedForward(const Scene& scene, const FeedForwardSpec& spec);
  Held forward(const Held& x);
  Held backward_input(const Held& dy);
  void backward_weight();

 private:
  const Scene& s_;
  int64_t width_;             // of the rank
  bool gated_, is_one_call_;  // whether the product has the activation in it
  ColumnLinear up_;
  RowLinear down_;
  Held h_;
};

/// The router too.
class Mixture {
 public:
  Mixture(const Scene& scene, const MixtureSpec& spec);
  Held forward(const Held& x);
  Held backward_input(const Held& dy);
  void backward_weight();

 private:
  Held take(const Held& x) const;
  Held give(Held y) const;
  void route(const Held& x);
  void route_backward();
  Held of_width(int64_t rows, int64_t width) const { return s_.make(rows, width); }

  const Scene& s_;
  MixtureSpec spec_;
  MixtureSizes sizes_;
  std::optional<FeedForward> shared_;
  Held x_, slots_, gates_, places_, rows_, h_, a_, returned_, dh_, dout_;
  // The router's:
  Held logits_, log_sum_, chosen_, dprobabilities_, dsquares_, dlogits_;
};

}  // namespace trireme::traces

#include "models/spec/describe_activations.h"

#include <optional>
#include <utility>

#include "models/spec/layer_traces.h"
#include "runtime/tensor/shape.h"

namespace trireme {

namespace {

using traces::Held;
using traces::Scene;

class DescribedLayer {
 public:
  virtual ~DescribedLayer() = default;
  virtual Held forward(const Held& x) = 0;
  virtual Held backward_input(const Held& dy) = 0;
  virtual void backward_weight() = 0;
};

class DescribedEmbedding final : public DescribedLayer {
 public:
  DescribedEmbedding(const Scene& scene, int64_t vocab_size) : s_(scene), vocab_size_(vocab_size) {}
  Held forward(const Held&) override {
    const Held codes = s_.codes(RankSizes::share(vocab_size_, s_.sizes.tensor), s_.sizes.hidden);
    return s_.reduce(s_.make(s_.sizes.rows, s_.sizes.hidden), s_.sizes.hidden);
  }
  Held backward_input(const Held& dy) override {
    dy_ = s_.gather(dy, s_.sizes.hidden);
    return nullptr;
  }
  void backward_weight() override { dy_ = nullptr; }

 private:
  const Scene& s_;
  int64_t vocab_size_;
  Held dy_;
};

class DescribedBlock final : public DescribedLayer {
 public:
  DescribedBlock(const Scene& scene, const BlockSpec& spec)
      : side_by_side_(spec.parallel_residual), attention_(scene, spec.attention) {
    if (spec.norms_before()) {
      attention_norm_.emplace(scene, spec.norm);
      ffn_norm_.emplace(scene, spec.norm);
    }
    if (spec.norms_after()) {
      attention_end_norm_.emplace(scene, spec.norm);
      ffn_end_norm_.emplace(scene, spec.norm);
    }
    if (spec.mixture) {
      experts_.emplace(scene, *spec.mixture);
    } else {
      ffn_.emplace(scene, spec.feed_forward);
    }
  }

  Held forward(const Held& x) override {
    const Held attended = attend(x);
    if (side_by_side_) return feed_forward(normed(ffn_norm_, x));
    traces::Norm::Output sum{attended, attended};
    if (ffn_norm_) sum = ffn_norm_->forward(attended, true);
    return feed_forward(sum.y);
  }
  Held backward_input(const Held& dy) override {
    const Held dout = normed_backward(ffn_end_norm_, dy);
    const Held dtaken = experts_ ? experts_->backward_input(dout) : ffn_->backward_input(dout);
    const Held dsum = normed_backward(ffn_norm_, dtaken);
    const Held dattended = side_by_side_ ? dy : normed_backward(attention_end_norm_, dsum);
    const Held dnormed = attention_.backward_input(dattended);
    return normed_backward(attention_norm_, dnormed);
  }
  void backward_weight() override {
    experts_ ? experts_->backward_weight() : ffn_->backward_weight();
    attention_.backward_weight();
  }

 private:
  Held attend(const Held& x) {
    const Held taken = normed(attention_norm_, x);
    const Held made = attention_.forward(taken);
    return normed(attention_end_norm_, made);
  }
  Held feed_forward(const Held& x) {
    const Held made = experts_ ? experts_->forward(x) : ffn_->forward(x);
    return normed(ffn_end_norm_, made);
  }
  static Held normed(std::optional<traces::Norm>& norm, const Held& x) {
    return norm ? norm->forward(x, false).y : x;
  }
  static Held normed_backward(std::optional<traces::Norm>& norm, const Held& dy) {
    return norm ? norm->backward() : dy;
  }

  bool side_by_side_;
  traces::Attention attention_;
  std::optional<traces::Norm> attention_norm_, ffn_norm_, attention_end_norm_, ffn_end_norm_;
  std::optional<traces::FeedForward> ffn_;  // one of the two
  std::optional<traces::Mixture> experts_;
};

class DescribedRecomputed final : public DescribedLayer {
 public:
  DescribedRecomputed(const Scene& scene, const BlockSpec& spec) : scene_(scene), spec_(spec) {}

  Held forward(const Held& x) override {
    DescribedBlock first(scene_, spec_);  // what it keeps is dropped
    Held y = first.forward(x);
    x_ = x;
    return y;
  }
  Held backward_input(const Held& dy) override {
    again_.emplace(scene_, spec_);
    again_->forward(std::exchange(x_, nullptr));
    return again_->backward_input(dy);
  }
  void backward_weight() override { again_->backward_weight(); }

 private:
  const Scene& scene_;
  const BlockSpec& spec_;
  Held x_;
  std::optional<DescribedBlock> again_;
};

class DescribedHead final : public DescribedLayer {
 public:
  DescribedHead(const Scene& scene, const ModelSpec& model)
      : s_(scene),
        vocab_(aligned_row_stride(RankSizes::share(model.vocab_size, scene.sizes.tensor))),
        norm_(scene, model.head.norm),
        linear_(scene, scene.sizes.hidden, vocab_) {
    const int64_t bytes = vocab_ * static_cast<int64_t>(size_of(s_.sizes.type));
    at_once_ = scene.conditions.loss.rows_at_once(s_.sizes.rows, bytes);
  }

  Held forward(const Held& x) override {
    const Held y = norm_.forward(x, false).y;
    if (at_once_ < s_.sizes.rows) {
      y_ = y;
      return nullptr;
    }
    dlogits_ = s_.make(s_.sizes.rows, vocab_);
    linear_.forward_into(y);
    objective(s_.sizes.rows);
    return nullptr;
  }
  Held backward_input(const Held&) override {
    if (at_once_ < s_.sizes.rows) return in_parts(std::exchange(y_, nullptr));
    const Held dy = linear_.backward_input(dlogits_);
    dlogits_ = nullptr;
    return norm_.backward();
  }
  void backward_weight() override {
    if (at_once_ == s_.sizes.rows) linear_.backward_weight();
  }

 private:
  void objective(int64_t rows) const {
    const Held loss = s_.floats(rows), added = s_.conditions.loss.adds_terms() ? s_.floats(rows) : nullptr;
    const Held statistics = s_.sizes.tensor > 1 ? s_.buffer(rows, kStatistics * s_.sizes.tensor) : nullptr;
  }
  Held in_parts(const Held& y) {
    const Held all = s_.gather(y, s_.sizes.hidden);
    Held dy = s_.make(s_.sizes.rows, s_.sizes.hidden);
    {  // one part; the others take its place, and no more
      const Held logits = s_.make(at_once_, vocab_);
      objective(at_once_);
    }
    dy = s_.reduce(std::move(dy), s_.sizes.hidden);
    return norm_.backward();
  }

  static constexpr int64_t kStatistics = 4;  // ops::kCrossEntropyStatistics

  const Scene& s_;
  int64_t vocab_, at_once_;
  traces::Norm norm_;
  traces::ColumnLinear linear_;
  Held dlogits_, y_;
};

// The sizes of layers that do not multiply in fp8, and have a quantized table (with measured scales) or not.
Scene scene_of_table(TraceRecorder& recorder, ModelSpec model, LayerConditions conditions, bool quantizes) {
  conditions.float8 = false;
  conditions.quantizes = quantizes;
  model.quantization.learned_scales = false;
  return {recorder, model, conditions};
}

// Runs a layer's passes as a stage does (parallel/module/stage.cpp), and writes them down.
LayerTraces trace_of(const Scene& scene, DescribedLayer& layer, bool has_input, bool has_output) {
  LayerTraces traces;
  TraceRecorder& recorder = scene.recorder;
  Held x = has_input ? scene.outer() : nullptr;
  recorder.record(&traces.forward);
  Held y = layer.forward(x);
  x = nullptr;
  recorder.record(nullptr);
  y = nullptr;  // the next layer's from now on
  Held dy = has_output ? scene.outer() : nullptr;
  recorder.record(&traces.backward_input);
  Held dx = layer.backward_input(dy);
  traces.keeps_gradient = dy.use_count() > 1;
  dy = nullptr;
  recorder.record(&traces.backward_weight);
  layer.backward_weight();
  recorder.record(nullptr);
  return traces;
}

}  // namespace

LayerTraces describe_embedding(const ModelSpec& model, const LayerConditions& conditions) {
  TraceRecorder recorder;
  const Scene scene = scene_of_table(recorder, model, conditions, model.quantization.embedding);
  DescribedEmbedding layer(scene, model.vocab_size);
  return trace_of(scene, layer, false, true);
}

LayerTraces describe_block(const ModelSpec& model, const BlockSpec& block, const LayerConditions& conditions,
                           bool recomputed) {
  TraceRecorder recorder;
  const Scene scene(recorder, model, conditions);
  if (recomputed) {
    DescribedRecomputed layer(scene, block);
    return trace_of(scene, layer, true, true);
  }
  DescribedBlock layer(scene, block);
  return trace_of(scene, layer, true, true);
}

LayerTraces describe_head(const ModelSpec& model, const LayerConditions& conditions) {
  TraceRecorder recorder;
  const Scene scene = scene_of_table(recorder, model, conditions, model.quantization.head);
  DescribedHead layer(scene, model);
  return trace_of(scene, layer, true, false);
}

int64_t boundary_bytes(const ModelSpec& model, const LayerConditions& conditions) {
  const RankSizes sizes(model, conditions);
  return block_bytes(sizes.outer_rows, sizes.hidden, sizes.type);
}

}  // namespace trireme

#include "models/spec/describe_activations.h"

#include <utility>

#include "models/spec/described_layer.h"
#include "runtime/tensor/shape.h"

namespace trireme {

namespace {

using traces::DescribedLayer;
using traces::Held;
using traces::Scene;

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

class DescribedHead final : public DescribedLayer {
 public:
  DescribedHead(const Scene& scene, const ModelSpec& model)
      : s_(scene),
        vocab_(aligned_row_stride(RankSizes::share(model.vocab_size, scene.sizes.tensor))),
        norm_(scene, model.head.norm),
        linear_(scene, scene.sizes.hidden, vocab_) {
    const int64_t bytes = vocab_ * static_cast<int64_t>(size_of(s_.sizes.type));
    at_once_ = scene.conditions.loss.rows_at_once(s_.sizes.rows, bytes);
    streams_ = 1 + scene.conditions.kept_streams;
  }

  Held forward(const Held& x) override {
    if (streams_ > 1) {
      joined_ = streams();  // the norm keeps what is joined, and beside it little
      y_ = streams();
      return nullptr;
    }
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
    if (streams_ > 1) return of_streams(std::exchange(y_, nullptr));
    if (at_once_ < s_.sizes.rows) return in_parts(std::exchange(y_, nullptr));
    const Held dy = linear_.backward_input(dlogits_);
    dlogits_ = nullptr;
    return norm_.backward();
  }
  void backward_weight() override {
    joined_ = nullptr;
    if (streams_ == 1 && at_once_ == s_.sizes.rows) linear_.backward_weight();
  }

 private:
  void objective(int64_t rows) const {
    const Held loss = s_.floats(rows), added = s_.conditions.loss.adds_terms() ? s_.floats(rows) : nullptr;
    const Held statistics = s_.sizes.tensor > 1 ? s_.buffer(rows, kStatistics * s_.sizes.tensor) : nullptr;
  }
  Held in_parts(const Held& y) {
    const Held dy = parts(y);
    return norm_.backward();
  }
  Held parts(const Held& y) {
    const Held all = s_.gather(y, s_.sizes.hidden);
    Held dy = s_.make(s_.sizes.rows, s_.sizes.hidden);
    {  // one part; the others take its place, and no more
      const Held logits = s_.make(at_once_, vocab_);
      objective(at_once_);
    }
    return s_.reduce(std::move(dy), s_.sizes.hidden);
  }
  Held streams() const { return s_.make(streams_ * s_.sizes.outer_rows, s_.sizes.hidden); }
  // Those of exits beside the stream: their gradient goes on to the layers before.
  Held of_streams(Held y) {
    const Held dy = streams();
    {
      const Held weights = s_.floats(s_.sizes.rows);
      parts(y);
    }
    y = nullptr;
    return streams();
  }

  static constexpr int64_t kStatistics = 4;  // ops::kCrossEntropyStatistics

  const Scene& s_;
  int64_t vocab_, at_once_, streams_;
  traces::Norm norm_;
  traces::ColumnLinear linear_;
  Held dlogits_, y_, joined_;
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
  return trace_of(scene, *traces::described_block(scene, block, recomputed), true, true);
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

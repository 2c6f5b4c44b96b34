#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "models/spec/described_layer.h"

namespace trireme::traces {

namespace {

/// Attention or a convolution.
class DescribedMixer {
 public:
  DescribedMixer(const Scene& scene, const BlockSpec& spec) {
    if (spec.convolution) {
      convolution_.emplace(scene, *spec.convolution);
    } else {
      attention_.emplace(scene, spec.attention);
    }
  }
  Held forward(const Held& x) { return convolution_ ? convolution_->forward(x) : attention_->forward(x); }
  Held backward_input(const Held& dy) {
    return convolution_ ? convolution_->backward_input(dy) : attention_->backward_input(dy);
  }
  void backward_weight() { convolution_ ? convolution_->backward_weight() : attention_->backward_weight(); }

 private:
  std::optional<traces::Attention> attention_;
  std::optional<traces::Convolution> convolution_;
};

class DescribedBlock final : public DescribedLayer {
 public:
  DescribedBlock(const Scene& scene, const BlockSpec& spec)
      : side_by_side_(spec.parallel_residual), mixer_(scene, spec) {
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
    const Held dnormed = mixer_.backward_input(dattended);
    return normed_backward(attention_norm_, dnormed);
  }
  void backward_weight() override {
    experts_ ? experts_->backward_weight() : ffn_->backward_weight();
    mixer_.backward_weight();
  }

 private:
  Held attend(const Held& x) {
    const Held taken = normed(attention_norm_, x);
    const Held made = mixer_.forward(taken);
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
  DescribedMixer mixer_;
  std::optional<traces::Norm> attention_norm_, ffn_norm_, attention_end_norm_, ffn_end_norm_;
  std::optional<traces::FeedForward> ffn_;  // one of the two
  std::optional<traces::Mixture> experts_;
};

/// One that is narrow inside.
class DescribedBottleneck final : public DescribedLayer {
 public:
  DescribedBottleneck(const Scene& scene, const BlockSpec& spec)
      : around_(alone(scene)),
        inside_(narrow(scene, spec.bottleneck->width)),
        norm_(scene, spec.norm),
        in_(around_, scene.sizes.hidden, spec.bottleneck->width),
        out_(around_, spec.bottleneck->width, scene.sizes.hidden),
        mixer_norm_(inside_, spec.norm),
        mixer_(inside_, spec) {
    for (int64_t k = 0; k < spec.bottleneck->num_feed_forwards; ++k) {
      part_norms_.emplace_back(inside_, spec.norm);
      parts_.emplace_back(inside_, spec.feed_forward);
    }
  }

  Held forward(const Held& x) override {
    Held stream = in_.forward(norm_.forward(x, false).y);
    Held made = mixer_.forward(mixer_norm_.forward(stream, false).y);
    for (size_t k = 0; k < parts_.size(); ++k) {
      const traces::Norm::Output sum = part_norms_[k].forward(made, true);
      stream = sum.sum;
      made = parts_[k].forward(sum.y);
    }
    return out_.forward(made);
  }
  Held backward_input(const Held& dy) override {
    Held dstream = out_.backward_input(dy);
    for (size_t k = parts_.size(); k-- > 0;) {
      const Held dtaken = parts_[k].backward_input(dstream);
      dstream = part_norms_[k].backward();
    }
    const Held dtaken = mixer_.backward_input(dstream);
    dstream = mixer_norm_.backward();
    const Held dnormed = in_.backward_input(dstream);
    return norm_.backward();
  }
  void backward_weight() override {
    out_.backward_weight();
    for (traces::FeedForward& part : parts_) part.backward_weight();
    mixer_.backward_weight();
    in_.backward_weight();
  }

 private:
  /// Linear layers that each rank has whole, of the rows that it sees outside.
  static Scene alone(Scene scene) {
    scene.sizes.rows = scene.sizes.outer_rows;
    scene.sizes.shards_rows = false;
    return scene;
  }
  static Scene narrow(Scene scene, int64_t width) {
    scene.sizes.hidden = width;
    return scene;
  }

  const Scene around_, inside_;
  traces::Norm norm_;
  traces::ColumnLinear in_, out_;
  traces::Norm mixer_norm_;
  DescribedMixer mixer_;
  std::vector<traces::Norm> part_norms_;
  std::vector<traces::FeedForward> parts_;
};

std::unique_ptr<DescribedLayer> described(const Scene& scene, const BlockSpec& spec) {
  if (spec.bottleneck) return std::make_unique<DescribedBottleneck>(scene, spec);
  return std::make_unique<DescribedBlock>(scene, spec);
}

class DescribedRecomputed final : public DescribedLayer {
 public:
  DescribedRecomputed(const Scene& scene, const BlockSpec& spec) : scene_(scene), spec_(spec) {}

  Held forward(const Held& x) override {
    Held y = described(scene_, spec_)->forward(x);  // what it keeps is dropped
    x_ = x;
    return y;
  }
  Held backward_input(const Held& dy) override {
    again_ = described(scene_, spec_);
    again_->forward(std::exchange(x_, nullptr));
    return again_->backward_input(dy);
  }
  void backward_weight() override { again_->backward_weight(); }

 private:
  const Scene& scene_;
  const BlockSpec& spec_;
  Held x_;
  std::unique_ptr<DescribedLayer> again_;
};

}  // namespace

std::unique_ptr<DescribedLayer> described_block(const Scene& scene, const BlockSpec& spec, bool recomputed) {
  if (recomputed) return std::make_unique<DescribedRecomputed>(scene, spec);
  return described(scene, spec);
}

}  // namespace trireme::traces

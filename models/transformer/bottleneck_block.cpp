#include "models/transformer/bottleneck_block.h"

#include <utility>

#include "runtime/comm/self/self_communicator.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

struct BottleneckBlock::State {
  Saved norm, in, mixer_norm, mixer, out;
  struct OfPart {
    Saved norm, feed_forward;
  };
  std::vector<OfPart> parts;
};

BottleneckBlock::BottleneckBlock(const BlockSpec& spec, std::shared_ptr<BlockParameters> parameters,
                                 int64_t index, const Tensor& rotary, const TensorParallel& tensor,
                                 const ContextParallel& context, bool recomputes_attention,
                                 const MatmulPolicies& matmul)
    : index_(index),
      parameters_(std::move(parameters)),
      alone_(make_self_communicator("bottleneck")),
      norm_(spec.norm, part_of(parameters_, parameters_->bottleneck->norm)),
      in_(TensorParallel(*alone_), parameters_->bottleneck->in.weight, parameters_->bottleneck->in.bias,
          matmul.of(parameters_->bottleneck->in.weight), &parameters_->bottleneck->in.scales),
      out_(TensorParallel(*alone_), parameters_->bottleneck->out.weight, parameters_->bottleneck->out.bias,
           matmul.of(parameters_->bottleneck->out.weight), &parameters_->bottleneck->out.scales),
      mixer_norm_(spec.norm, part_of(parameters_, parameters_->attention_norm)),
      mixer_(spec, parameters_, index, rotary, tensor, context, recomputes_attention, matmul) {
  for (BottleneckParameters::Part& part : parameters_->bottleneck->parts) {
    parts_.push_back({Norm(spec.norm, part_of(parameters_, part.norm)),
                      std::make_unique<FeedForward>(
                          spec.feed_forward, part_of(parameters_, part.feed_forward), tensor, matmul)});
  }
}

Tensor BottleneckBlock::forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) {
  auto& state = saved.emplace<State>();
  state.parts.resize(parts_.size());
  const Tensor narrow = in_.forward(ctx, norm_.forward(ctx, x, Tensor(), state.norm).y, false, state.in);
  Tensor made =
      mixer_.forward(ctx, mb, mixer_norm_.forward(ctx, narrow, Tensor(), state.mixer_norm).y, state.mixer);
  Tensor stream = narrow;
  for (size_t k = 0; k < parts_.size(); ++k) {
    const Norm::Output sum = parts_[k].norm.forward(ctx, made, stream, state.parts[k].norm);
    stream = sum.sum;
    made = parts_[k].feed_forward->forward(ctx, mb, sum.y, state.parts[k].feed_forward);
  }
  ops::add(ctx, made, stream, made);
  const Tensor out = out_.forward(ctx, made, false, state.out);
  ops::add(ctx, out, x, out);
  return out;
}

void BottleneckBlock::store(Context& ctx, const TokenBatch& batch, const Tensor& x) {
  Saved dropped;
  const Tensor narrow = in_.forward(ctx, norm_.forward(ctx, x, Tensor(), dropped).y, false, dropped);
  mixer_.store(ctx, batch, mixer_norm_.forward(ctx, narrow, Tensor(), dropped).y);
}

Tensor BottleneckBlock::backward_input(Context& ctx, const Tensor& dy, Saved& saved) {
  auto& state = saved.get<State>();
  Tensor dstream = out_.backward_input(ctx, dy, state.out);
  for (size_t k = parts_.size(); k-- > 0;) {
    const Tensor dtaken = parts_[k].feed_forward->backward_input(ctx, dstream, state.parts[k].feed_forward);
    dstream = parts_[k].norm.backward(ctx, dtaken, dstream, state.parts[k].norm);
  }
  const Tensor dtaken = mixer_.backward_input(ctx, dstream, state.mixer);
  dstream = mixer_norm_.backward(ctx, dtaken, dstream, state.mixer_norm);
  const Tensor dnormed = in_.backward_input(ctx, dstream, state.in);
  return norm_.backward(ctx, dnormed, dy, state.norm);
}

void BottleneckBlock::backward_weight(Context& ctx, Saved& saved) {
  auto& state = saved.get<State>();
  out_.backward_weight(ctx, state.out);
  for (size_t k = 0; k < parts_.size(); ++k)
    parts_[k].feed_forward->backward_weight(ctx, state.parts[k].feed_forward);
  mixer_.backward_weight(ctx, state.mixer);
  in_.backward_weight(ctx, state.in);
  saved.clear();
}

}  // namespace trireme

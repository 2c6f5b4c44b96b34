#include "models/layers/convolution.h"

#include <utility>

#include "models/config/edge_config.h"
#include "models/layers/norm.h"
#include "parallel/context_parallel/neighbour_rows.h"

namespace trireme {

static_assert(ConvolutionConfig::kMostTokens == ops::kMostTaps);

struct Convolution::State {
  Saved in_linear, output_linear;
  ops::ConvolutionShape shape;
  bool is_divided = false;  // chunks of sequences, whose neighbours are on other ranks
  int64_t batch = 0;
  Tensor abx, before, positions;
};

Convolution::Convolution(const ConvolutionSpec& spec, std::shared_ptr<ConvolutionParameters> parameters,
                         int64_t index, const TensorParallel& tensor, const ContextParallel& context,
                         const MatmulPolicies& matmul)
    : parameters_(std::move(parameters)),
      index_(index),
      width_(tensor.part(spec.width).size()),
      kernel_(spec.kernel),
      tensor_(tensor),
      context_(context),
      in_(tensor, parameters_->in.weight, parameters_->in.bias, matmul.of(parameters_->in.weight),
          &parameters_->in.scales),
      output_(tensor, parameters_->output.weight, parameters_->output.bias,
              matmul.of(parameters_->output.weight), &parameters_->output.scales) {}

ops::ConvolutionShape Convolution::shape(const TokenBatch& batch) const {
  const int64_t chunks = batch.context_parts > 1 ? 2 : 1;
  return {batch.batch * chunks, batch.seq_len / chunks, width_, kernel_};
}

Tensor Convolution::forward(Context& ctx, const TokenBatch& batch, const Tensor& x, Saved& saved) const {
  if (batch.paged) return forward_paged(ctx, batch, x);
  auto& state = saved.emplace<State>();
  const bool sharded_rows = tensor_.shards_rows(batch);
  state.shape = shape(batch);
  state.is_divided = batch.context_parts > 1;
  state.batch = batch.batch;
  state.positions = batch.positions;
  state.abx = in_.forward(ctx, x, sharded_rows, state.in_linear);
  const Tensor y = Tensor::empty(ctx, {batch.rows(), width_}, x.dtype());
  {
    const Tensor u = Tensor::empty(ctx, y.shape(), x.dtype());
    ops::gated_inputs(ctx, state.abx, u);
    if (state.is_divided) state.before = rows_before_chunks(ctx, context_, batch.batch, u, kernel_ - 1);
    ops::convolution(ctx, state.shape, u, state.before, state.abx, parameters_->taps.weight, state.positions,
                     y);
  }
  return output_.forward(ctx, y, sharded_rows, state.output_linear);
}

Tensor Convolution::forward_paged(Context& ctx, const TokenBatch& batch, const Tensor& x) const {
  Saved dropped;
  const Tensor abx = in_.forward(ctx, x, false, dropped);
  const Tensor y = Tensor::empty(ctx, {abx.dim(0), width_}, x.dtype());
  ops::paged_convolution(ctx, batch.paged->rows, abx, parameters_->taps.weight,
                         batch.paged->inputs[static_cast<size_t>(index_)], y);
  return output_.forward(ctx, y, false, dropped);
}

Tensor Convolution::backward_input(Context& ctx, const Tensor& dy, Saved& saved) const {
  auto& state = saved.get<State>();
  const Tensor& taps = parameters_->taps.weight;
  const Tensor dconvolved = output_.backward_input(ctx, dy, state.output_linear);
  Tensor behind;
  if (state.is_divided) {
    const Tensor dbefore = Tensor::empty(ctx, state.before.shape(), DType::f32);
    ops::convolution_backward_before(ctx, state.shape, dconvolved, state.abx, taps, state.positions, dbefore);
    behind = sums_behind_chunks(ctx, context_, state.batch, dbefore);
  }
  const Tensor dabx = Tensor::empty(ctx, state.abx.shape(), dy.dtype());
  {
    const Tensor u = Tensor::empty(ctx, dconvolved.shape(), dy.dtype());
    ops::gated_inputs(ctx, state.abx, u);
    ops::convolution_backward(ctx, state.shape, dconvolved, u, state.before, state.abx, taps, state.positions,
                              behind, dabx, gradient_or_scratch(ctx, parameters_->taps));
  }
  state.abx = state.before = Tensor();
  return in_.backward_input(ctx, dabx, state.in_linear);
}

void Convolution::backward_weight(Context& ctx, Saved& saved) const {
  auto& state = saved.get<State>();
  output_.backward_weight(ctx, state.output_linear);
  in_.backward_weight(ctx, state.in_linear);
  saved.clear();
}

}  // namespace trireme

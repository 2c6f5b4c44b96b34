#include "models/layers/head.h"

#include <utility>

#include "parallel/tensor_parallel/vocabulary.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/permute.h"

namespace trireme {

namespace {

Tensor rows_of_logits(Context& ctx, const PagedBatch& paged, const Tensor& x) {
  const int64_t count = paged.logit_rows.dim(0);
  if (count == x.dim(0)) return x;  // they rise
  const Tensor asked = Tensor::empty(ctx, {count, x.dim(1)}, x.dtype());
  ops::combine_rows(ctx, x, paged.logit_rows.view({count, 1}), {}, asked);
  return asked;
}

}  // namespace

Head::Head(const HeadSpec& spec, std::shared_ptr<HeadParameters> parameters, ParameterBlock* tied_to,
           const TensorParallel& tensor, const MatmulPolicies& matmul)
    : soft_cap_(static_cast<float>(spec.soft_cap)),
      tensor_(tensor),
      parameters_(std::move(parameters)),
      norm_(spec.norm, part_of(parameters_, parameters_->norm)),
      weight_(parameters_->weight ? &parameters_->weight : tied_to),
      quantized_(*weight_, matmul.of(*weight_).quantization),
      linear_(tensor, *weight_, no_bias_, matmul.of(*weight_)) {}

int64_t Head::bytes_a_row(DType dtype) const {
  const int64_t columns = (vocab_size() + tensor_.size() - 1) / tensor_.size();
  return aligned_row_stride(columns) * static_cast<int64_t>(size_of(dtype));
}

void Head::collect(std::vector<ParameterBlock*>& blocks) {
  norm_.collect(blocks);
  blocks.push_back(weight_);
}

Tensor Head::all_logits(Context& ctx, const TokenBatch& batch, const Tensor& x) const {
  Saved saved;
  const Tensor asked = batch.paged ? rows_of_logits(ctx, *batch.paged, x) : x;
  const Tensor logits =
      linear_.forward(ctx, norm(ctx, asked, saved), tensor_.shards_rows(batch), saved.linear);
  if (soft_cap_ > 0) ops::soft_cap(ctx, {logits, 0, logits.dim(1)}, soft_cap_);
  return gather_logits(ctx, tensor_, vocab_size(), logits);
}

Tensor Head::norm(Context& ctx, const Tensor& x, Saved& saved) const {
  return norm_.forward(ctx, x, Tensor(), saved.norm).y;
}

Tensor Head::norm_backward(Context& ctx, const Tensor& dy, Saved& saved) const {
  return norm_.backward(ctx, dy, Tensor(), saved.norm);
}

RowLogits Head::empty_logits(Context& ctx, int64_t rows, DType dtype) const {
  return {trireme::empty_logits(ctx, tensor_, vocab_size(), rows, dtype), vocab_size(), soft_cap_};
}

RowLogits Head::logits(Context& ctx, const Tensor& y, const TokenBatch& batch, Saved& saved) const {
  RowLogits logits = empty_logits(ctx, batch.rows(), y.dtype());
  linear_.forward_into(ctx, y, tensor_.shards_rows(batch), logits.columns, saved.linear);
  return logits;
}

Tensor Head::backward_input(Context& ctx, const ops::Columns& dlogits, Saved& saved) const {
  return linear_.backward_input(ctx, dlogits, saved.linear);
}

void Head::backward_weight(Context& ctx, Saved& saved) const { linear_.backward_weight(ctx, saved.linear); }

RowLogits Head::logits_of_rows(Context& ctx, const Tensor& y, const WeightView& weight) const {
  RowLogits logits = empty_logits(ctx, y.dim(0), y.dtype());
  products_.forward(ctx, y, weight, {}, logits.columns);
  return logits;
}

void Head::backward_of_rows(Context& ctx, const ops::Columns& dlogits, const Tensor& y,
                            const WeightView& weight, const Tensor& dy) const {
  products_.backward_input(ctx, dlogits, weight, dy);
  products_.backward_weight(ctx, dlogits, y, weight_->gradient, {});
}

}  // namespace trireme

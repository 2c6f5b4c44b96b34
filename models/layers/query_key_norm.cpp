#include "models/layers/query_key_norm.h"

#include <utility>

#include "models/layers/norm.h"
#include "models/spec/describe_parameters.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/head_norm.h"
#include "runtime/ops/shared_norm.h"

namespace trireme {

QueryKeyNorm::QueryKeyNorm(const AttentionSpec& spec, std::shared_ptr<AttentionParameters> parameters,
                           const TensorParallel& tensor)
    : spec_(spec),
      parameters_(std::move(parameters)),
      tensor_(tensor),
      queries_(heads_of_rank(spec, {tensor.rank(), tensor.size()}).size() * spec.head_dim),
      keys_(kv_heads_of_rank(spec, {tensor.rank(), tensor.size()}).size() * spec.head_dim) {}

std::array<QueryKeyNorm::Share, 2> QueryKeyNorm::shares() const {
  const GroupShare ranks{tensor_.rank(), tensor_.size()};
  return {Share{0, 0, queries_, spec_.query_width(), &parameters_->query_norm.gain},
          Share{1, queries_, keys_, spec_.kv_width() * copies_of_kv_heads(spec_, ranks),
                &parameters_->key_norm.gain}};
}

void QueryKeyNorm::forward(Context& ctx, const Tensor& qkv, Kept& kept) const {
  if (!spec_.qk_norm) return;
  const auto eps = static_cast<float>(spec_.qk_norm->eps);
  const int64_t rows = qkv.dim(0);
  kept.raw = Tensor::empty(ctx, {rows, queries_ + keys_}, qkv.dtype());
  ops::copy_columns(ctx, {qkv, 0, queries_ + keys_}, {kept.raw, 0, queries_ + keys_});
  if (spec_.norms_whole_projection) return forward_of_all(ctx, qkv, kept);
  kept.query_rstd = Tensor::empty(ctx, {rows, queries_ / spec_.head_dim}, DType::f32);
  kept.key_rstd = Tensor::empty(ctx, {rows, keys_ / spec_.head_dim}, DType::f32);
  ops::rms_norm_heads(ctx, {kept.raw, 0, queries_}, parameters_->query_norm.gain.weight, eps,
                      {qkv, 0, queries_}, kept.query_rstd);
  ops::rms_norm_heads(ctx, {kept.raw, queries_, keys_}, parameters_->key_norm.gain.weight, eps,
                      {qkv, queries_, keys_}, kept.key_rstd);
}

void QueryKeyNorm::forward_of_all(Context& ctx, const Tensor& qkv, Kept& kept) const {
  const auto eps = static_cast<float>(spec_.qk_norm->eps);
  const Tensor squares = Tensor::empty(ctx, {qkv.dim(0), 2}, DType::f32);
  for (const Share& share : shares())
    ops::shared_norm_squares(ctx, share.of(kept.raw), share.number_of(squares));
  tensor_.reduce(ctx, squares, false);
  for (const Share& share : shares()) {
    const ops::Columns scale = share.number_of(squares);  // in place
    ops::shared_norm(ctx, share.of(kept.raw), scale, share.width, share.gain->weight, eps, share.of(qkv),
                     scale);
  }
  kept.query_rstd = squares;
}

void QueryKeyNorm::backward(Context& ctx, const Tensor& dqkv, Kept& kept) const {
  if (!spec_.qk_norm) return;
  if (spec_.norms_whole_projection) {
    backward_of_all(ctx, dqkv, kept);
  } else {
    const ParameterBlock &query_gain = parameters_->query_norm.gain, &key_gain = parameters_->key_norm.gain;
    const ops::Columns dq{dqkv, 0, queries_}, dk{dqkv, queries_, keys_};
    ops::rms_norm_heads_backward(ctx, dq, {kept.raw, 0, queries_}, query_gain.weight, kept.query_rstd, dq,
                                 gradient_or_scratch(ctx, query_gain));
    ops::rms_norm_heads_backward(ctx, dk, {kept.raw, queries_, keys_}, key_gain.weight, kept.key_rstd, dk,
                                 gradient_or_scratch(ctx, key_gain));
  }
  kept = {};
}

void QueryKeyNorm::backward_of_all(Context& ctx, const Tensor& dqkv, const Kept& kept) const {
  const Tensor sums = Tensor::empty(ctx, {dqkv.dim(0), 2}, DType::f32);
  for (const Share& share : shares()) {
    ops::shared_norm_backward_sums(ctx, share.of(dqkv), share.of(kept.raw), share.gain->weight,
                                   share.number_of(kept.query_rstd), share.number_of(sums),
                                   gradient_or_scratch(ctx, *share.gain));
  }
  tensor_.reduce(ctx, sums, false);
  for (const Share& share : shares()) {
    ops::shared_norm_backward(ctx, share.of(dqkv), share.of(kept.raw), share.gain->weight,
                              share.number_of(kept.query_rstd), share.number_of(sums), share.width,
                              share.of(dqkv));
  }
}

}  // namespace trireme

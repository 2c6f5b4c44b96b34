#include "models/distill/few_tokens.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "runtime/base/philox.h"
#include "runtime/ops/training/few_tokens.h"

namespace trireme {

namespace {

Tensor buffer(Context& ctx, const Shape& shape, DType dtype) {
  return Tensor::empty(ctx, shape, dtype, MemoryCategory::buffers);
}

/// `t` of all ranks, one after the other.
Tensor gathered(Context& ctx, Communicator& group, const Tensor& t) {
  const Tensor all = buffer(ctx, {group.size(), t.dim(0), t.dim(1)}, t.dtype());
  group.all_gather(ctx.stream(), t, all);
  return all;
}

struct Vocabulary {
  const TensorParallel& tensor;
  Part part;
  ops::LogitSoftmax softmax;
  Tensor statistics;  // [ranks, rows, 2]
};

std::pair<Tensor, Tensor> likeliest(Context& ctx, const Vocabulary& v, const ops::Columns& logits,
                                    int64_t count) {
  const Shape shape{logits.rows(), count};
  const Tensor here = buffer(ctx, shape, DType::i32), values = buffer(ctx, shape, DType::f32);
  ops::likeliest_columns(ctx, logits, v.softmax, v.part.begin, here, values);
  const Tensor ids = buffer(ctx, shape, DType::i32), probabilities = buffer(ctx, shape, DType::f32);
  Communicator& group = v.tensor.group();
  ops::merge_likeliest(ctx, v.softmax, v.statistics, gathered(ctx, group, here), gathered(ctx, group, values),
                       ids, probabilities);
  return {ids, probabilities};
}

std::pair<Tensor, Tensor> drawn(Context& ctx, const Vocabulary& v, const ops::Columns& logits,
                                const FewTokensOptions& options, const RowPlaces& rows) {
  const Shape shape{logits.rows(), options.num_tokens};
  const Tensor draws = buffer(ctx, shape, DType::i32);
  ops::draw_columns(ctx, logits, v.softmax, v.part.begin, v.tensor.rank(),
                    {.key = stream_key(options.seed, "teacher_tokens"),
                     .first_sample = rows.first_sample,
                     .rows_a_sample = rows.rows_a_sample,
                     .first_row = rows.first_row},
                    rows.places, v.statistics, draws);
  v.tensor.group().all_reduce(ctx.stream(), draws,
                              ReduceOp::max);  // each lies on one rank, and is -1 elsewhere
  const Tensor ids = buffer(ctx, shape, DType::i32), probabilities = buffer(ctx, shape, DType::f32);
  ops::merge_draws(ctx, draws, ids, probabilities);
  return {ids, probabilities};
}

}  // namespace

RowTeacher few_tokens(Context& ctx, const TensorParallel& tensor, const RowTeacher& all, int64_t vocab_size,
                      const FewTokensOptions& options, const RowPlaces& rows) {
  const ops::Columns& logits = all.logits;
  Vocabulary v{
      tensor, tensor.part(vocab_size), {all.soft_cap, static_cast<float>(options.temperature)}, Tensor()};
  TRIREME_CHECK(logits && logits.count == v.part.size(), "few tokens of {} columns of {} on rank {} of {}",
                logits.count, vocab_size, tensor.rank(), tensor.size());
  TRIREME_CHECK(options.num_tokens > 0 && options.num_tokens <= ops::kMostFewTokens, "{} tokens of a row",
                options.num_tokens);
  const Tensor here = buffer(ctx, {logits.rows(), 2}, DType::f64);
  ops::softmax_statistics(ctx, logits, v.softmax, here);
  v.statistics = gathered(ctx, tensor.group(), here);
  RowTeacher few;
  few.states = all.states;
  const bool is_sampled = options.kind == TeacherTokens::sampled;
  std::tie(few.ids, few.probabilities) =
      is_sampled ? drawn(ctx, v, logits, options, rows)
                 : likeliest(ctx, v, logits, std::min(options.num_tokens, vocab_size));
  few.has_rest = !is_sampled && options.num_tokens < vocab_size;
  return few;
}

}  // namespace trireme

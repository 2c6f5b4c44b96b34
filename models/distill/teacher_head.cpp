#include "models/distill/teacher_head.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "models/spec/describe.h"
#include "parallel/tensor_parallel/vocabulary.h"
#include "runtime/base/error.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/gemm/gemm.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/zeros.h"

namespace trireme {

namespace {

// Rows that are in memory as f32 at once.
constexpr int64_t kRowsAtOnce = 1024;

}  // namespace

TeacherHead::TeacherHead(Context& ctx, const TensorParallel& tensor, const WeightSource& source,
                         const ModelConfig& teacher, int64_t student_vocab, int64_t common,
                         DType compute_type)
    : tensor_(tensor), student_vocab_(student_vocab), common_(common) {
  TRIREME_CHECK(common > 0 && common <= student_vocab && common <= teacher.vocab_size,
                "{} tokens in common of {} and {}", common, student_vocab, teacher.vocab_size);
  const ModelSpec spec = spec_of(teacher);
  soft_cap_ = static_cast<float>(spec.head.soft_cap);
  const char* name = spec.head.tied ? "embedding.tokens.weight" : "head.weight";
  const Part own = tensor.part(student_vocab);
  const int64_t width = spec.hidden_size, end = std::min(own.end, common);
  matrix_ = ops::zeros(ctx, {own.size(), width}, compute_type, MemoryCategory::weights);
  for (int64_t row = own.begin; row < end; row += kRowsAtOnce) {
    const Part rows{row, std::min(end, row + kRowsAtOnce)};
    std::vector<float> values(static_cast<size_t>(rows.size() * width));
    source.read(name, Parameter::part_of(name, {teacher.vocab_size, width}, 0, rows, 0, 0), values);
    ops::copy(ctx, ops::to_device(ctx, values, {rows.size(), width}),
              matrix_.slice(rows.begin - own.begin, rows.end - own.begin));
  }
}

RowTeacher TeacherHead::rows(Context& ctx, const Tensor& states) const {
  Tensor x = states;
  if (x.dtype() != matrix_.dtype()) {
    x = Tensor::empty(ctx, states.shape(), matrix_.dtype());
    ops::copy(ctx, states, x);
  }
  RowTeacher out;
  out.logits = empty_logits(ctx, tensor_, student_vocab_, x.dim(0), x.dtype());
  out.soft_cap = soft_cap_;
  out.states = x;
  ops::linear(ctx, x, matrix_, {}, out.logits);
  const Part own = tensor_.part(student_vocab_);
  const int64_t known = std::clamp<int64_t>(common_ - own.begin, 0, own.size()), rest = own.size() - known;
  if (rest > 0 && x.dim(0) > 0) {
    const Tensor none = Tensor::empty(ctx, {x.dim(0), rest}, x.dtype());
    ops::fill(ctx, none, -std::numeric_limits<double>::infinity());
    ops::copy_columns(ctx, none, {out.logits.matrix, out.logits.begin + known, rest});
  }
  return out;
}

int64_t TeacherHead::bytes() const { return matrix_.bytes(); }

}  // namespace trireme

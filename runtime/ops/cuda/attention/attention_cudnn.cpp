#include "runtime/ops/cuda/attention/attention_cudnn.h"

#include <algorithm>

#include "runtime/ops/cuda/attention/attention_library.h"

namespace trireme::ops::cuda {

namespace {

constexpr int64_t kElementsOf16Bytes = 8;

bool is_aligned(const Tensor& t) { return reinterpret_cast<uintptr_t>(t.raw()) % 16 == 0; }
bool is_aligned(const Columns& c) {
  return c.stride() % kElementsOf16Bytes == 0 && c.begin % kElementsOf16Bytes == 0 && is_aligned(c.matrix);
}

AttentionProblem problem_of(const AttentionShape& s, const Columns& q, const Columns& k, const Columns& v) {
  AttentionProblem p;
  p.shape = s;
  p.dtype = q.dtype();
  p.q_stride = q.stride();
  p.k_stride = k.stride();
  p.v_stride = v.stride();
  return p;
}

/// cuDNN and its plans in a context.
struct Cudnn {
  explicit Cudnn(Context& ctx) : plans(ctx.settings(), make_cudnn(ctx)) {}
  AttentionPlans plans;
};

bool run(Context& ctx, const AttentionProblem& problem, bool with_aligned_rows,
         const AttentionPointers& pointers) {
  if (ctx.settings().attention == AttentionChoice::own) return false;
  const AttentionPlan* plan = ctx.service<Cudnn>().plans.find(problem, with_aligned_rows);
  if (plan == nullptr) return false;
  const Tensor workspace =
      Tensor::empty(ctx, {std::max<int64_t>(plan->workspace_bytes(), 1)}, DType::u8, MemoryCategory::buffers);
  plan->run(pointers, workspace.raw());
  return true;
}

}  // namespace

bool attention_by_cudnn(Context& ctx, const AttentionShape& s, const Columns& q, const Columns& k,
                        const Columns& v, const Tensor& out, const Tensor& lse) {
  const bool aligned = is_aligned(q) && is_aligned(k) && is_aligned(v) && is_aligned(out);
  const AttentionPointers pointers{
      .q = q.raw(), .k = k.raw(), .v = v.raw(), .out = out.raw(), .lse = lse.raw()};
  return run(ctx, problem_of(s, q, k, v), aligned, pointers);
}

bool attention_backward_by_cudnn(Context& ctx, const AttentionShape& s, const Columns& q, const Columns& k,
                                 const Columns& v, const Tensor& out, const Tensor& lse, const Tensor& dout,
                                 const Columns& dq, const Columns& dk, const Columns& dv) {
  bool aligned = is_aligned(out) && is_aligned(dout);
  for (const Columns* c : {&q, &k, &v, &dq, &dk, &dv}) aligned = aligned && is_aligned(*c);
  AttentionProblem problem = problem_of(s, q, k, v);
  problem.is_backward = true;
  problem.is_deterministic = ctx.settings().deterministic;
  problem.dq_stride = dq.stride();
  problem.dk_stride = dk.stride();
  problem.dv_stride = dv.stride();
  const AttentionPointers pointers{.q = q.raw(),
                                   .k = k.raw(),
                                   .v = v.raw(),
                                   .out = out.raw(),
                                   .lse = lse.raw(),
                                   .dout = dout.raw(),
                                   .dq = dq.raw(),
                                   .dk = dk.raw(),
                                   .dv = dv.raw()};
  return run(ctx, problem, aligned, pointers);
}

}  // namespace trireme::ops::cuda

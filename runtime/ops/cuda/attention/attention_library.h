// A library's fused attention as the ops see it: problems, plans that it makes for them, and what becomes of
// its refusals. No vendor's header: cudnn_library.cpp is the library, and tests have one of their own.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "runtime/ops/attention/attention.h"

namespace trireme::ops::cuda {

/// An attention up to its addresses. Strides are of rows, in elements.
struct AttentionProblem {
  AttentionShape shape;
  DType dtype = DType::bf16;
  bool is_backward = false;
  bool is_deterministic = true;  ///< of the way back: no sum depends on the order of threads
  int64_t q_stride = 0, k_stride = 0, v_stride = 0, dq_stride = 0, dk_stride = 0, dv_stride = 0;

  auto tie() const {
    return std::tie(is_backward, is_deterministic, dtype, shape.batch, shape.q_len, shape.kv_len,
                    shape.num_heads, shape.num_kv_heads, shape.head_dim, shape.scale, shape.causal,
                    shape.window, shape.soft_cap, shape.shift, q_stride, k_stride, v_stride, dq_stride,
                    dk_stride, dv_stride);
  }
  friend bool operator<(const AttentionProblem& x, const AttentionProblem& y) { return x.tie() < y.tie(); }
};

/// First elements; gradients are null on the way forward.
struct AttentionPointers {
  void *q = nullptr, *k = nullptr, *v = nullptr, *out = nullptr, *lse = nullptr;
  void *dout = nullptr, *dq = nullptr, *dk = nullptr, *dv = nullptr;
};

/// A problem for which the library has found a way.
class AttentionPlan {
 public:
  virtual ~AttentionPlan() = default;
  virtual int64_t workspace_bytes() const = 0;
  /// Submits to the stream of the library's context. `workspace` is so large at least and not null.
  virtual void run(const AttentionPointers& pointers, void* workspace) const = 0;
};

/// A plan, or the library's words why there is none.
struct AttentionAnswer {
  std::unique_ptr<AttentionPlan> plan;
  std::string why_not;
};

class AttentionLibrary {
 public:
  virtual ~AttentionLibrary() = default;
  virtual AttentionAnswer plan(const AttentionProblem& problem) = 0;
};

/// cuDNN on the context's device and stream; null in a program built without it.
std::unique_ptr<AttentionLibrary> make_cudnn(Context& ctx);

/// A context's library and all that it has answered: each problem is asked about once.
class AttentionPlans {
 public:
  /// `library` may be null.
  AttentionPlans(const OpSettings& settings, std::unique_ptr<AttentionLibrary> library);

  /// Null where the own kernels serve: the settings say so, there is no library, the case is none of
  /// cuDNN's, the library refuses it, or its workspace is larger than settings.attention_workspace. Where
  /// the settings ask for cuDNN each of these is a UserError (usage) that says which, but for a single
  /// token, which texts begin with. `is_aligned`: all rows begin at multiples of 16 bytes.
  const AttentionPlan* find(const AttentionProblem& problem, bool is_aligned);

 private:
  AttentionAnswer ask(const AttentionProblem& problem);
  const AttentionPlan* refuse(const AttentionProblem& problem, const std::string& why) const;

  OpSettings settings_;
  std::unique_ptr<AttentionLibrary> library_;
  std::map<AttentionProblem, AttentionAnswer> answers_;  // the first to go
};

}  // namespace trireme::ops::cuda

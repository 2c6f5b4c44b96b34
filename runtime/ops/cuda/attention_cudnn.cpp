#include "runtime/ops/cuda/attention_cudnn.h"

#include <algorithm>
#include <map>
#include <memory>
#include <tuple>
#include <unordered_map>

#include <cudnn_frontend.h>

#include "runtime/device/cuda/cuda_stream.h"

namespace trireme::ops::cuda {

namespace {

namespace fe = cudnn_frontend;

/// The graph's tensors.
enum Id : int64_t { kQ = 1, kK, kV, kOut, kLse, kDout, kDq, kDk, kDv };
using Pointers = std::unordered_map<int64_t, void*>;

/// An attention up to its addresses. Strides are of rows, in elements.
struct Problem {
  bool is_backward;
  DType dtype;
  int64_t batch, len, num_heads, num_kv_heads, head_dim;
  float scale;
  bool causal;
  int64_t q_stride, k_stride, v_stride, dq_stride, dk_stride, dv_stride;

  auto tie() const {
    return std::tie(is_backward, dtype, batch, len, num_heads, num_kv_heads, head_dim, scale, causal,
                    q_stride, k_stride, v_stride, dq_stride, dk_stride, dv_stride);
  }
  friend bool operator<(const Problem& x, const Problem& y) { return x.tie() < y.tie(); }
};

void check_cudnn(cudnnStatus_t status, const char* call) {
  if (status != CUDNN_STATUS_SUCCESS) throw_environment("{} failed: {}", call, cudnnGetErrorString(status));
}

/// A described attention for which cuDNN has found a way.
class Plan {
 public:
  /// Null where cuDNN has none for the device and sizes.
  static std::unique_ptr<Plan> make(cudnnHandle_t handle, const Problem& p) {
    auto plan = std::unique_ptr<Plan>(new Plan());
    plan->describe(p);
    if (plan->graph_.build(handle, {fe::HeurMode_t::A}).is_bad()) return nullptr;
    if (plan->graph_.get_workspace_size(plan->workspace_bytes_).is_bad()) return nullptr;
    return plan;
  }

  void run(Context& ctx, cudnnHandle_t handle, Pointers& pointers) const {
    const Tensor workspace =
        Tensor::empty(ctx, {std::max<int64_t>(workspace_bytes_, 1)}, DType::u8, MemoryCategory::buffers);
    if (auto status = graph_.execute(handle, pointers, workspace.raw()); status.is_bad()) {
      throw_environment("cuDNN's attention failed: {}", status.get_message());
    }
  }

 private:
  using Attributes = fe::graph::Tensor_attributes;
  using GraphTensor = std::shared_ptr<Attributes>;

  Plan() = default;

  // Heads lie side by side in rows of `stride` elements.
  void describe(const Problem& p) {
    graph_.set_io_data_type(p.dtype == DType::bf16 ? fe::DataType_t::BFLOAT16 : fe::DataType_t::HALF)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    const int64_t d = p.head_dim, out_stride = p.num_heads * d;
    const auto dims = [&](int64_t heads) { return std::vector<int64_t>{p.batch, heads, p.len, d}; };
    const auto strides = [&](int64_t stride) { return std::vector<int64_t>{p.len * stride, d, stride, 1}; };
    const std::vector<int64_t> lse_dims{p.batch, p.num_heads, p.len, 1},
        lse_strides{p.num_heads * p.len, p.len, 1, 1};
    const auto input = [&](Id id, int64_t heads, int64_t stride) {
      return graph_.tensor(Attributes().set_uid(id).set_dim(dims(heads)).set_stride(strides(stride)));
    };
    const auto give = [&](const GraphTensor& t, Id id, int64_t heads, int64_t stride) {
      t->set_output(true).set_uid(id).set_dim(dims(heads)).set_stride(strides(stride));
    };
    const GraphTensor q = input(kQ, p.num_heads, p.q_stride), k = input(kK, p.num_kv_heads, p.k_stride),
                      v = input(kV, p.num_kv_heads, p.v_stride);
    if (!p.is_backward) {
      const auto [out, lse] = graph_.sdpa(
          q, k, v,
          fe::graph::SDPA_attributes().set_generate_stats(true).set_causal_mask(p.causal).set_attn_scale(
              p.scale));
      give(out, kOut, p.num_heads, out_stride);
      lse->set_output(true)
          .set_uid(kLse)
          .set_dim(lse_dims)
          .set_stride(lse_strides)
          .set_data_type(fe::DataType_t::FLOAT);
      return;
    }
    const GraphTensor out = input(kOut, p.num_heads, out_stride),
                      dout = input(kDout, p.num_heads, out_stride);
    const GraphTensor lse = graph_.tensor(Attributes()
                                              .set_uid(kLse)
                                              .set_dim(lse_dims)
                                              .set_stride(lse_strides)
                                              .set_data_type(fe::DataType_t::FLOAT));
    const auto [dq, dk, dv] = graph_.sdpa_backward(q, k, v, out, dout, lse,
                                                   fe::graph::SDPA_backward_attributes()
                                                       .set_causal_mask(p.causal)
                                                       .set_attn_scale(p.scale)
                                                       .set_deterministic_algorithm(true));
    give(dq, kDq, p.num_heads, p.dq_stride);
    give(dk, kDk, p.num_kv_heads, p.dk_stride);
    give(dv, kDv, p.num_kv_heads, p.dv_stride);
  }

  fe::graph::Graph graph_;
  int64_t workspace_bytes_ = 0;
};

/// The library's handle and the plans of a context; a problem that cuDNN refused is remembered as none.
class Cudnn {
 public:
  explicit Cudnn(Context& ctx) {
    check_cudnn(cudnnCreate(&handle_), "cudnnCreate");
    check_cudnn(cudnnSetStream(handle_, trireme::cuda::raw_stream(ctx.stream())), "cudnnSetStream");
  }
  Cudnn(const Cudnn&) = delete;
  Cudnn& operator=(const Cudnn&) = delete;
  ~Cudnn() {
    plans_.clear();
    if (handle_ != nullptr) cudnnDestroy(handle_);
  }

  bool run(Context& ctx, const Problem& problem, Pointers& pointers) {
    const auto [plan, is_new] = plans_.try_emplace(problem);
    if (is_new) plan->second = Plan::make(handle_, problem);
    if (!plan->second) return false;
    plan->second->run(ctx, handle_, pointers);
    return true;
  }

 private:
  cudnnHandle_t handle_ = nullptr;
  std::map<Problem, std::unique_ptr<Plan>> plans_;
};

constexpr int64_t kElementsOf16Bytes = 8;

bool is_aligned(const Columns& c) {
  return c.stride() % kElementsOf16Bytes == 0 && c.begin % kElementsOf16Bytes == 0 &&
         reinterpret_cast<uintptr_t>(c.matrix.raw()) % 16 == 0;
}
bool is_aligned(const Tensor& t) { return reinterpret_cast<uintptr_t>(t.raw()) % 16 == 0; }

bool serves(const AttentionShape& s, DType dtype) {
  return dtype != DType::f32 && s.q_len == s.kv_len && s.q_len > 1 && s.head_dim <= 128 &&
         s.head_dim % kElementsOf16Bytes == 0;
}

Problem problem_of(const AttentionShape& s, const Columns& q, const Columns& k, const Columns& v) {
  Problem p{};
  p.dtype = q.matrix.dtype();
  p.batch = s.batch;
  p.len = s.q_len;
  p.num_heads = s.num_heads;
  p.num_kv_heads = s.num_kv_heads;
  p.head_dim = s.head_dim;
  p.scale = s.scale;
  p.causal = s.causal;
  p.q_stride = q.stride();
  p.k_stride = k.stride();
  p.v_stride = v.stride();
  return p;
}

void* address(const Columns& c) {
  return static_cast<std::byte*>(c.matrix.raw()) + c.begin * static_cast<int64_t>(size_of(c.matrix.dtype()));
}

}  // namespace

bool attention_by_cudnn(Context& ctx, const AttentionShape& s, const Columns& q, const Columns& k,
                        const Columns& v, const Tensor& out, const Tensor& lse) {
  if (!serves(s, out.dtype()) || !is_aligned(q) || !is_aligned(k) || !is_aligned(v) || !is_aligned(out)) {
    return false;
  }
  Pointers pointers{
      {kQ, address(q)}, {kK, address(k)}, {kV, address(v)}, {kOut, out.raw()}, {kLse, lse.raw()}};
  return ctx.service<Cudnn>().run(ctx, problem_of(s, q, k, v), pointers);
}

bool attention_backward_by_cudnn(Context& ctx, const AttentionShape& s, const Columns& q, const Columns& k,
                                 const Columns& v, const Tensor& out, const Tensor& lse, const Tensor& dout,
                                 const Columns& dq, const Columns& dk, const Columns& dv) {
  if (!serves(s, out.dtype()) || !is_aligned(out) || !is_aligned(dout)) return false;
  for (const Columns* c : {&q, &k, &v, &dq, &dk, &dv}) {
    if (!is_aligned(*c)) return false;
  }
  Problem problem = problem_of(s, q, k, v);
  problem.is_backward = true;
  problem.dq_stride = dq.stride();
  problem.dk_stride = dk.stride();
  problem.dv_stride = dv.stride();
  Pointers pointers{{kQ, address(q)},   {kK, address(k)},   {kV, address(v)},
                    {kOut, out.raw()},  {kLse, lse.raw()},  {kDout, dout.raw()},
                    {kDq, address(dq)}, {kDk, address(dk)}, {kDv, address(dv)}};
  return ctx.service<Cudnn>().run(ctx, problem, pointers);
}

}  // namespace trireme::ops::cuda

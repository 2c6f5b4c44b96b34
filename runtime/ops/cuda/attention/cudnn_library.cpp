// cuDNN by its frontend's graphs.
#include <unordered_map>

#include <cudnn_frontend.h>

#include "runtime/device/cuda/cuda_stream.h"
#include "runtime/ops/attention/attention_by_cudnn.h"
#include "runtime/ops/cuda/attention/attention_library.h"

namespace trireme::ops::cuda {

namespace {

namespace fe = cudnn_frontend;

/// The graph's tensors.
enum Id : int64_t { kQ = 1, kK, kV, kOut, kLse, kDout, kDq, kDk, kDv };

void check_cudnn(cudnnStatus_t status, const char* call) {
  if (status != CUDNN_STATUS_SUCCESS) throw_environment("{} failed: {}", call, cudnnGetErrorString(status));
}

/// A described attention for which cuDNN has found a way.
class CudnnPlan final : public AttentionPlan {
 public:
  static AttentionAnswer make(cudnnHandle_t handle, const AttentionProblem& p) {
    auto plan = std::unique_ptr<CudnnPlan>(new CudnnPlan(handle));
    plan->describe(p);
    if (auto status = plan->graph_.build(handle, {fe::HeurMode_t::A}); status.is_bad()) {
      return {nullptr, "it says: " + status.get_message()};
    }
    if (auto status = plan->graph_.get_workspace_size(plan->workspace_bytes_); status.is_bad()) {
      return {nullptr, "it says: " + status.get_message()};
    }
    return {std::move(plan), ""};
  }

  int64_t workspace_bytes() const override { return workspace_bytes_; }

  void run(const AttentionPointers& p, void* workspace) const override {
    std::unordered_map<int64_t, void*> pointers{
        {kQ, p.q}, {kK, p.k}, {kV, p.v}, {kOut, p.out}, {kLse, p.lse}};
    if (p.dout != nullptr) pointers.insert({{kDout, p.dout}, {kDq, p.dq}, {kDk, p.dk}, {kDv, p.dv}});
    if (auto status = graph_.execute(handle_, pointers, workspace); status.is_bad()) {
      throw_environment("cuDNN attention failed: {}", status.get_message());
    }
  }

 private:
  using Attributes = fe::graph::Tensor_attributes;
  using GraphTensor = std::shared_ptr<Attributes>;

  explicit CudnnPlan(cudnnHandle_t handle) : handle_(handle) {}

  /// Heads of q, k, v and what is like them, side by side in rows of `stride` elements.
  struct Rows {
    const AttentionShape& s;
    std::vector<int64_t> dims(int64_t heads) const { return {s.batch, heads, s.q_len, s.head_dim}; }
    std::vector<int64_t> strides(int64_t stride) const { return {s.q_len * stride, s.head_dim, stride, 1}; }
  };

  GraphTensor input(const Rows& rows, Id id, int64_t heads, int64_t stride) {
    return graph_.tensor(Attributes().set_uid(id).set_dim(rows.dims(heads)).set_stride(rows.strides(stride)));
  }
  static void give(const GraphTensor& t, const Rows& rows, Id id, int64_t heads, int64_t stride) {
    t->set_output(true).set_uid(id).set_dim(rows.dims(heads)).set_stride(rows.strides(stride));
  }
  /// lse, in nats as the own kernels'.
  static Attributes& as_lse(Attributes& t, const AttentionShape& s) {
    return t.set_uid(kLse)
        .set_dim({s.batch, s.num_heads, s.q_len, 1})
        .set_stride({s.num_heads * s.q_len, s.q_len, 1, 1})
        .set_data_type(fe::DataType_t::FLOAT);
  }

  void describe(const AttentionProblem& p) {
    graph_.set_io_data_type(p.dtype == DType::bf16 ? fe::DataType_t::BFLOAT16 : fe::DataType_t::HALF)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    const AttentionShape& s = p.shape;
    const Rows rows{s};
    const GraphTensor q = input(rows, kQ, s.num_heads, p.q_stride),
                      k = input(rows, kK, s.num_kv_heads, p.k_stride),
                      v = input(rows, kV, s.num_kv_heads, p.v_stride);
    const int64_t out_stride = s.num_heads * s.head_dim;
    if (!p.is_backward) {
      const auto [out, lse] = graph_.sdpa(
          q, k, v,
          fe::graph::SDPA_attributes().set_generate_stats(true).set_causal_mask(s.causal).set_attn_scale(
              s.scale));
      give(out, rows, kOut, s.num_heads, out_stride);
      as_lse(lse->set_output(true), s);
      return;
    }
    const GraphTensor out = input(rows, kOut, s.num_heads, out_stride),
                      dout = input(rows, kDout, s.num_heads, out_stride);
    Attributes stats;
    const GraphTensor lse = graph_.tensor(as_lse(stats, s));
    const auto [dq, dk, dv] = graph_.sdpa_backward(q, k, v, out, dout, lse,
                                                   fe::graph::SDPA_backward_attributes()
                                                       .set_causal_mask(s.causal)
                                                       .set_attn_scale(s.scale)
                                                       .set_deterministic_algorithm(p.is_deterministic));
    give(dq, rows, kDq, s.num_heads, p.dq_stride);
    give(dk, rows, kDk, s.num_kv_heads, p.dk_stride);
    give(dv, rows, kDv, s.num_kv_heads, p.dv_stride);
  }

  cudnnHandle_t handle_;
  fe::graph::Graph graph_;
  int64_t workspace_bytes_ = 0;
};

class CudnnLibrary final : public AttentionLibrary {
 public:
  explicit CudnnLibrary(Context& ctx) {
    check_cudnn(cudnnCreate(&handle_), "cudnnCreate");
    check_cudnn(cudnnSetStream(handle_, trireme::cuda::raw_stream(ctx.stream())), "cudnnSetStream");
  }
  CudnnLibrary(const CudnnLibrary&) = delete;
  CudnnLibrary& operator=(const CudnnLibrary&) = delete;
  ~CudnnLibrary() override {
    if (handle_ != nullptr) cudnnDestroy(handle_);
  }

  AttentionAnswer plan(const AttentionProblem& problem) override { return CudnnPlan::make(handle_, problem); }

 private:
  cudnnHandle_t handle_ = nullptr;
};

}  // namespace

std::unique_ptr<AttentionLibrary> make_cudnn(Context& ctx) { return std::make_unique<CudnnLibrary>(ctx); }

std::string cudnn_version() { return fmt::format("{}.{}.{}", CUDNN_MAJOR, CUDNN_MINOR, CUDNN_PATCHLEVEL); }

}  // namespace trireme::ops::cuda

#include "tests/support/cuda_on_host/attention_library.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "runtime/device/cuda/cuda_stream.h"
#include "runtime/ops/attention/attention_by_cudnn.h"
#include "runtime/tensor/element_type.h"
#include "tests/support/cuda_on_host/device_memory.h"
#include "tests/support/test_device.h"

namespace trireme::cuda_on_host {

namespace {

using ops::AttentionShape;
using ops::cuda::AttentionPointers;
using ops::cuda::AttentionProblem;

using Doubles = std::vector<double>;

/// Heads side by side in rows.
struct Rows {
  const AttentionShape& s;
  DType dtype;
  void* begin;
  int64_t stride;

  /// Rows of one head, one after the other.
  Doubles get(int64_t batch, int64_t head) const {
    Doubles values;
    for_each(batch, head, [&]<class T>(T* element) { values.push_back(from_element<T>(*element)); });
    return values;
  }
  void set(int64_t batch, int64_t head, const Doubles& values) const {
    size_t i = 0;
    for_each(batch, head, [&]<class T>(T* element) { *element = to_element<T>(values[i++]); });
  }

 private:
  template <class Body>
  void for_each(int64_t batch, int64_t head, Body&& body) const {
    with_element_type(dtype, [&]<class T>(T) {
      for (int64_t row = batch * s.q_len; row < (batch + 1) * s.q_len; ++row) {
        for (int64_t c = 0; c < s.head_dim; ++c)
          body(static_cast<T*>(begin) + row * stride + head * s.head_dim + c);
      }
    });
  }
};

/// One head of queries and its keys and values.
struct Head {
  const AttentionShape& s;
  Doubles q, k, v;

  static double dot(const Doubles& x, int64_t i, const Doubles& y, int64_t j, int64_t n) {
    return std::inner_product(x.begin() + i * n, x.begin() + (i + 1) * n, y.begin() + j * n, 0.0);
  }
  int64_t num_keys(int64_t i) const { return s.causal ? i + 1 : s.kv_len; }
  double score(int64_t i, int64_t j) const { return s.scale * dot(q, i, k, j, s.head_dim); }

  void forward(Doubles& out, float* lse) const {
    out.assign(q.size(), 0);
    for (int64_t i = 0; i < s.q_len; ++i) {
      double largest = -std::numeric_limits<double>::infinity(), sum = 0;
      for (int64_t j = 0; j < num_keys(i); ++j) largest = std::max(largest, score(i, j));
      for (int64_t j = 0; j < num_keys(i); ++j) sum += std::exp(score(i, j) - largest);
      lse[i] = static_cast<float>(largest + std::log(sum));
      for (int64_t j = 0; j < num_keys(i); ++j) {
        const double weight = std::exp(score(i, j) - largest) / sum;
        for (int64_t c = 0; c < s.head_dim; ++c) out[i * s.head_dim + c] += weight * v[j * s.head_dim + c];
      }
    }
  }

  /// dq is overwritten; to dk and dv is added.
  void backward(const Doubles& out, const float* lse, const Doubles& dout, Doubles& dq, Doubles& dk,
                Doubles& dv) const {
    const int64_t d = s.head_dim;
    dq.assign(q.size(), 0);
    for (int64_t i = 0; i < s.q_len; ++i) {
      const double delta = dot(out, i, dout, i, d);
      for (int64_t j = 0; j < num_keys(i); ++j) {
        const double weight = std::exp(score(i, j) - lse[i]);
        const double ds = weight * (dot(dout, i, v, j, d) - delta) * s.scale;
        for (int64_t c = 0; c < d; ++c) {
          dq[i * d + c] += ds * k[j * d + c];
          dk[j * d + c] += ds * q[i * d + c];
          dv[j * d + c] += weight * dout[i * d + c];
        }
      }
    }
  }
};

class Plan final : public ops::cuda::AttentionPlan {
 public:
  Plan(cudaStream_t stream, const AttentionProblem& problem) : stream_(stream), p_(problem) {}

  int64_t workspace_bytes() const override { return cuda_on_host::workspace_bytes(p_); }

  void run(const AttentionPointers& to, void* workspace) const override {
    stream_->run([p = p_, to, workspace] {
      const DeviceAccess access;
      std::memset(workspace, 0xff, static_cast<size_t>(cuda_on_host::workspace_bytes(p)));
      compute(p, to);
    });
    cudnn().last_workspace = workspace_bytes();
    ++(p_.is_backward ? cudnn().num_backward : cudnn().num_forward);
  }

 private:
  static void compute(const AttentionProblem& p, const AttentionPointers& to) {
    const AttentionShape& s = p.shape;
    const int64_t group = s.num_heads / s.num_kv_heads, out_stride = s.num_heads * s.head_dim;
    const auto rows = [&](void* begin, int64_t stride) { return Rows{s, p.dtype, begin, stride}; };
    for (int64_t b = 0; b < s.batch; ++b) {
      Doubles result, dk, dv;
      for (int64_t h = 0; h < s.num_heads; ++h) {
        const Head head{s, rows(to.q, p.q_stride).get(b, h), rows(to.k, p.k_stride).get(b, h / group),
                        rows(to.v, p.v_stride).get(b, h / group)};
        float* lse = static_cast<float*>(to.lse) + (b * s.num_heads + h) * s.q_len;
        if (!p.is_backward) {
          head.forward(result, lse);
          rows(to.out, out_stride).set(b, h, result);
          continue;
        }
        if (h % group == 0) dk.assign(head.k.size(), 0), dv.assign(head.v.size(), 0);
        head.backward(rows(to.out, out_stride).get(b, h), lse, rows(to.dout, out_stride).get(b, h), result,
                      dk, dv);
        rows(to.dq, p.dq_stride).set(b, h, result);
        if (h % group + 1 < group) continue;
        rows(to.dk, p.dk_stride).set(b, h / group, dk);
        rows(to.dv, p.dv_stride).set(b, h / group, dv);
      }
    }
  }

  cudaStream_t stream_;
  AttentionProblem p_;
};

class Library final : public ops::cuda::AttentionLibrary {
 public:
  explicit Library(Context& ctx) : stream_(cuda::raw_stream(ctx.stream())) {}

  ops::cuda::AttentionAnswer plan(const AttentionProblem& problem) override {
    ++cudnn().num_asked;
    if (!cudnn().serves) return {nullptr, "it says: not on this device"};
    return {std::make_unique<Plan>(stream_, problem), ""};
  }

 private:
  cudaStream_t stream_;
};

}  // namespace

Cudnn& cudnn() {
  thread_local Cudnn of_this_thread{.is_built = test::test_settings().attention == AttentionChoice::cudnn};
  return of_this_thread;
}

int64_t workspace_bytes(const AttentionProblem& p) {
  const AttentionShape& s = p.shape;
  const auto padded = [](int64_t n, int64_t tile) { return (n + tile - 1) / tile * tile; };
  if (!p.is_backward) return 0;
  const int64_t heads = s.batch * s.num_heads;
  return p.is_deterministic ? heads * padded(s.q_len, 64) * padded(s.kv_len, 128) * 2
                            : heads * s.q_len * s.head_dim * 4;
}

}  // namespace trireme::cuda_on_host

namespace trireme::ops::cuda {

std::unique_ptr<AttentionLibrary> make_cudnn(Context& ctx) {
  if (!cuda_on_host::cudnn().is_built) return nullptr;
  return std::make_unique<cuda_on_host::Library>(ctx);
}

std::string cudnn_version() { return cuda_on_host::cudnn().is_built ? "0.0.0" : ""; }

}  // namespace trireme::ops::cuda

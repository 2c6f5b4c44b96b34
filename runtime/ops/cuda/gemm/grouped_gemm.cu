// Products of experts by cuBLAS: all of them in one grouped call where types and addresses allow it, else one
// call each. The numbers of rows change from step to step, so no plan is kept for them as for other products.
#include "runtime/ops/gemm/grouped_gemm.h"

#include <algorithm>
#include <vector>

#include <cublas_v2.h>

#include "runtime/ops/cuda/gemm/blas.h"
#include "runtime/ops/cuda/launch.cuh"

namespace trireme::ops::cuda {

namespace {

/// The handle of a context, bound to its stream and to a workspace of the context's own: cuBLAS then neither
/// allocates nor chooses by what other streams do.
class Blas {
 public:
  explicit Blas(Context& ctx)
      : workspace_(
            Tensor::empty(ctx, {static_cast<int64_t>(kWorkspaceBytes)}, DType::u8, MemoryCategory::buffers)) {
    check_blas(cublasCreate(handle_.out()), "cublasCreate");
    check_blas(cublasSetStream(handle_.get(), trireme::cuda::raw_stream(ctx.stream())), "cublasSetStream");
    check_blas(cublasSetWorkspace(handle_.get(), workspace_.raw(), kWorkspaceBytes), "cublasSetWorkspace");
  }
  cublasHandle_t get() const { return handle_.get(); }

 private:
  Tensor workspace_;
  Owned<cublasHandle_t, cublasDestroy> handle_;
};

/// A row-major product c[m,n] (+)= op(a)[m,k] · op(b)[k,n] of one expert.
struct Product {
  const Tensor *a, *b, *c;
  bool transpose_a, transpose_b, accumulate;
};

/// The places of one expert's matrices and the dims of its product.
struct Group {
  const std::byte *a, *b;
  std::byte* c;
  int64_t m, n, k;
};

std::byte* address(const Tensor& t, int64_t elements) {
  return static_cast<std::byte*>(t.raw()) + elements * static_cast<int64_t>(size_of(t.dtype()));
}

cublasOperation_t operation(bool transpose) { return transpose ? CUBLAS_OP_T : CUBLAS_OP_N; }

/// As many pointers as the arguments of a kernel hold with ease.
constexpr int kMostPointers = 128;
struct Pointers {
  const std::byte* at[kMostPointers];
};

__global__ void write_pointers_kernel(Pointers pointers, int count, const std::byte** out) {
  if (static_cast<int>(threadIdx.x) < count) out[threadIdx.x] = pointers.at[threadIdx.x];
}

/// A device's array of pointers. They travel as arguments of a kernel, so that the host need not wait.
Tensor on_device(Context& ctx, const std::vector<const std::byte*>& pointers) {
  const auto count = static_cast<int64_t>(pointers.size());
  const Tensor out = Tensor::empty(ctx, {count}, DType::i64, MemoryCategory::buffers);
  for (int64_t first = 0; first < count; first += kMostPointers) {
    const int here = static_cast<int>(std::min<int64_t>(kMostPointers, count - first));
    Pointers some{};
    std::copy_n(pointers.begin() + first, here, some.at);
    launch(ctx, write_pointers_kernel, 1, kMostPointers, 0, some, here,
           reinterpret_cast<const std::byte**>(out.data<int64_t>()) + first);
  }
  return out;
}

/// The products of all experts, which share all but places and numbers of rows.
class Products {
 public:
  Products(Product product, std::vector<Group> groups) : product_(product), groups_(std::move(groups)) {}

  void run(Context& ctx) const {
    if (groups_.empty()) return;
    if (is_one_call()) return run_grouped(ctx);
    for (const Group& g : groups_) run_one(ctx, g);
  }

 private:
  // Grouped products have results of the type of their matrices. Addresses and rows at multiples of 16 bytes
  // are more than they ask for, whatever the dims.
  bool is_one_call() const {
    if (groups_.size() == 1 || product_.a->dtype() != product_.c->dtype()) return false;
    const auto is_aligned = [](const Tensor& t) {
      return reinterpret_cast<uintptr_t>(t.raw()) % 16 == 0 &&
             t.dim(1) * static_cast<int64_t>(size_of(t.dtype())) % 16 == 0;
    };
    return is_aligned(*product_.a) && is_aligned(*product_.b) && is_aligned(*product_.c);
  }

  void run_one(Context& ctx, const Group& g) const {
    const Product& p = product_;
    const float alpha = 1, beta = p.accumulate ? 1.0f : 0.0f;
    check_blas(cublasGemmEx_64(ctx.service<Blas>().get(), operation(p.transpose_b), operation(p.transpose_a),
                               g.n, g.m, g.k, &alpha, g.b, data_type(p.b->dtype()), p.b->dim(1), g.a,
                               data_type(p.a->dtype()), p.a->dim(1), &beta, g.c, data_type(p.c->dtype()),
                               p.c->dim(1), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
               "cublasGemmEx");
  }

  void run_grouped(Context& ctx) const {
    const Product& p = product_;
    const size_t n = groups_.size();
    const std::vector<cublasOperation_t> of_b(n, operation(p.transpose_b)), of_a(n, operation(p.transpose_a));
    const std::vector<int64_t> stride_a(n, p.a->dim(1)), stride_b(n, p.b->dim(1)), stride_c(n, p.c->dim(1)),
        one_each(n, 1);
    const std::vector<float> alphas(n, 1.0f), betas(n, p.accumulate ? 1.0f : 0.0f);
    std::vector<int64_t> ms, ns, ks;
    std::vector<const std::byte*> pointers(3 * n);
    for (size_t i = 0; i < n; ++i) {
      const Group& g = groups_[i];
      ms.push_back(g.m);
      ns.push_back(g.n);
      ks.push_back(g.k);
      pointers[i] = g.a;
      pointers[n + i] = g.b;
      pointers[2 * n + i] = g.c;
    }
    const Tensor all = on_device(ctx, pointers);
    auto** const at = reinterpret_cast<void**>(all.data<int64_t>());
    check_blas(
        cublasGemmGroupedBatchedEx_64(ctx.service<Blas>().get(), of_b.data(), of_a.data(), ns.data(),
                                      ms.data(), ks.data(), alphas.data(), at + n, data_type(p.b->dtype()),
                                      stride_b.data(), at, data_type(p.a->dtype()), stride_a.data(),
                                      betas.data(), at + 2 * n, data_type(p.c->dtype()), stride_c.data(),
                                      static_cast<int64_t>(n), one_each.data(), CUBLAS_COMPUTE_32F),
        "cublasGemmGroupedBatchedEx");
  }

  Product product_;
  std::vector<Group> groups_;
};

/// Calls make(expert, first row, rows) for each expert with rows.
template <class Make>
std::vector<Group> groups_of(std::span<const int64_t> counts, Make&& make) {
  std::vector<Group> groups;
  int64_t first = 0;
  for (size_t e = 0; e < counts.size(); ++e) {
    if (counts[e] > 0) groups.push_back(make(static_cast<int64_t>(e), first, counts[e]));
    first += counts[e];
  }
  return groups;
}

}  // namespace

void grouped_linear(Context& ctx, const Tensor& x, std::span<const int64_t> counts, const Tensor& w,
                    const Tensor& y) {
  const int64_t in = x.dim(1), out = y.dim(1);
  Products({&x, &w, &y, false, true, false}, groups_of(counts,
                                                       [&](int64_t e, int64_t first, int64_t rows) {
                                                         return Group{address(x, first * in),
                                                                      address(w, e * out * in),
                                                                      address(y, first * out),
                                                                      rows,
                                                                      out,
                                                                      in};
                                                       }))
      .run(ctx);
}

void grouped_linear_backward_input(Context& ctx, const Tensor& dy, std::span<const int64_t> counts,
                                   const Tensor& w, const Tensor& dx) {
  const int64_t in = dx.dim(1), out = dy.dim(1);
  Products({&dy, &w, &dx, false, false, false}, groups_of(counts,
                                                          [&](int64_t e, int64_t first, int64_t rows) {
                                                            return Group{address(dy, first * out),
                                                                         address(w, e * out * in),
                                                                         address(dx, first * in),
                                                                         rows,
                                                                         in,
                                                                         out};
                                                          }))
      .run(ctx);
}

void grouped_linear_backward_weight(Context& ctx, const Tensor& dy, const Tensor& x,
                                    std::span<const int64_t> counts, const Tensor& dw) {
  const int64_t in = x.dim(1), out = dy.dim(1);
  Products({&dy, &x, &dw, true, false, true}, groups_of(counts,
                                                        [&](int64_t e, int64_t first, int64_t rows) {
                                                          return Group{address(dy, first * out),
                                                                       address(x, first * in),
                                                                       address(dw, e * out * in),
                                                                       out,
                                                                       in,
                                                                       rows};
                                                        }))
      .run(ctx);
}

}  // namespace trireme::ops::cuda

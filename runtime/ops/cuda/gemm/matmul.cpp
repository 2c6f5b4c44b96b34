#include "runtime/ops/cuda/gemm/matmul.h"

#include <map>
#include <memory>
#include <tuple>

#include "runtime/device/cuda/cuda_stream.h"
#include "runtime/ops/cuda/compute_capability.h"
#include "runtime/ops/cuda/gemm/blas.h"
#include "runtime/ops/cuda/gemm/row_bias.h"

namespace trireme::ops::cuda {

namespace {

using Library = Owned<cublasLtHandle_t, cublasLtDestroy>;
using Description = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

/// The largest power of two, up to 16, that divides an address: algorithms are chosen by it. None moves wider
/// vectors, and a product has the same bits wherever its tensors lie at multiples of 16 bytes.
unsigned alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer) | 16u;
  return static_cast<unsigned>(address & (~address + 1));
}

/// A product up to its addresses.
struct Problem {
  int64_t m, n, k;             // of the row-major product
  int64_t a_stride, c_stride;  // elements from row to row
  DType a, b, out;
  bool transpose_a, transpose_b, has_bias, accumulate;
  Epilogue epilogue;
  unsigned a_alignment, b_alignment, c_alignment, bias_alignment, aux_alignment;

  auto tie() const {
    return std::tie(m, n, k, a_stride, c_stride, a, b, out, transpose_a, transpose_b, has_bias, accumulate,
                    epilogue, a_alignment, b_alignment, c_alignment, bias_alignment, aux_alignment);
  }
  friend bool operator<(const Problem& x, const Problem& y) { return x.tie() < y.tie(); }
};

Problem problem_of(const Matmul& p) {
  return {p.c.rows(),
          p.c.count,
          p.options.transpose_a ? p.a.rows() : p.a.count,
          p.a.stride(),
          p.c.stride(),
          p.a.dtype(),
          p.b.dtype(),
          p.c.dtype(),
          p.options.transpose_a,
          p.options.transpose_b,
          static_cast<bool>(p.bias),
          p.options.accumulate,
          p.epilogue,
          alignment_of(p.a.raw()),
          alignment_of(p.b.raw()),
          alignment_of(p.c.raw()),
          alignment_of(p.bias.raw()),
          alignment_of(p.aux.raw())};
}

/// Matrices that an epilogue reads or writes beside c: the manual wants rows of a multiple of eight elements.
bool is_matrix_aux(Epilogue epilogue) {
  return epilogue == Epilogue::gelu || epilogue == Epilogue::gelu_backward;
}

cublasLtEpilogue_t epilogue_of(const Problem& p) {
  switch (p.epilogue) {
    case Epilogue::gelu:
      return p.has_bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
    case Epilogue::gelu_backward:
      return CUBLASLT_EPILOGUE_DGELU;
    case Epilogue::row_sums:
      return CUBLASLT_EPILOGUE_BGRADB;  // our a is the library's B
    case Epilogue::none:
      break;
  }
  return p.has_bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

/// A described product and the algorithm that cuBLASLt's heuristics chose for it, if they know one.
class Plan {
 public:
  Plan(cublasLtHandle_t library, const Problem& p, const Matmul& first) {
    check_blas(cublasLtMatmulDescCreate(description_.out(), CUBLAS_COMPUTE_32F, CUDA_R_32F),
               "cublasLtMatmulDescCreate");
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(p));
    if (p.has_bias || p.epilogue == Epilogue::row_sums)
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, data_type(p.out));
    if (is_matrix_aux(p.epilogue)) set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, p.n);
    make_layout(first_, p.b, p.transpose_b ? p.k : p.n, p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n);
    make_layout(second_, p.a, p.transpose_a ? p.m : p.k, p.transpose_a ? p.k : p.m, p.a_stride);
    make_layout(result_, p.out, p.n, p.m, p.c_stride);
    point_to(first);
    status_ = choose(library, p);
    if (!is_possible() && p.has_bias && p.epilogue == Epilogue::none) {
      adds_bias_ = true;
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_DEFAULT);
      status_ = choose(library, p);
    }
  }

  bool is_possible() const { return status_ == CUBLAS_STATUS_SUCCESS; }
  const char* why_not() const { return cublasGetStatusString(status_); }

  void run(Context& ctx, cublasLtHandle_t library, const Matmul& p) {
    point_to(p);
    const float alpha = p.options.alpha, beta = p.options.accumulate ? 1.0f : 0.0f;
    const Tensor workspace = workspace_bytes_ == 0
                                 ? Tensor()
                                 : Tensor::empty(ctx, {static_cast<int64_t>(workspace_bytes_)}, DType::u8,
                                                 MemoryCategory::buffers);
    check_blas(cublasLtMatmul(library, description_.get(), &alpha, p.b.raw(), first_.get(), p.a.raw(),
                              second_.get(), &beta, p.c.raw(), result_.get(), p.c.raw(), result_.get(),
                              &algorithm_, workspace ? workspace.raw() : nullptr, workspace_bytes_,
                              trireme::cuda::raw_stream(ctx.stream())),
               "cublasLtMatmul");
    if (adds_bias_) add_bias_alone(ctx, true, p.bias, p.c);
  }

 private:
  void point_to(const Matmul& p) {
    if (p.bias) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(p.bias.raw()));
    if (p.epilogue == Epilogue::row_sums) {
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(p.aux.raw()));
    } else if (p.aux) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, static_cast<const void*>(p.aux.raw()));
    }
    if (p.scale_a) {
      set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, static_cast<const void*>(p.scale_b.raw()));
      set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, static_cast<const void*>(p.scale_a.raw()));
    }
  }

  template <class Value>
  void set(cublasLtMatmulDescAttributes_t attribute, Value value) {
    check_blas(cublasLtMatmulDescSetAttribute(description_.get(), attribute, &value, sizeof value),
               "cublasLtMatmulDescSetAttribute");
  }

  // Column-major, as cuBLAS counts: `rows` is the row-major matrix's width.
  static void make_layout(Layout& layout, DType dtype, int64_t rows, int64_t columns, int64_t stride) {
    check_blas(cublasLtMatrixLayoutCreate(layout.out(), data_type(dtype), static_cast<uint64_t>(rows),
                                          static_cast<uint64_t>(columns), stride),
               "cublasLtMatrixLayoutCreate");
  }

  cublasStatus_t choose(cublasLtHandle_t library, const Problem& p) {
    Preference preference;
    check_blas(cublasLtMatmulPreferenceCreate(preference.out()), "cublasLtMatmulPreferenceCreate");
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      check_blas(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value),
                 "cublasLtMatmulPreferenceSetAttribute");
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspaceBytes);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, p.b_alignment);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, p.a_alignment);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, p.c_alignment);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, p.c_alignment);
    cublasLtMatmulHeuristicResult_t best{};
    int found = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(library, description_.get(), first_.get(), second_.get(),
                                       result_.get(), result_.get(), preference.get(), 1, &best, &found);
    algorithm_ = best.algo;
    workspace_bytes_ = best.workspaceSize;
    return status == CUBLAS_STATUS_SUCCESS && found == 0 ? CUBLAS_STATUS_NOT_SUPPORTED : status;
  }

  Description description_;
  Layout first_, second_, result_;
  cublasLtMatmulAlgo_t algorithm_{};
  size_t workspace_bytes_ = 0;
  cublasStatus_t status_ = CUBLAS_STATUS_NOT_SUPPORTED;
  bool adds_bias_ = false;  // after the product, where no algorithm has it in its epilogue
};

/// The library's handle and the plans of a context. Training repeats a few dozen products.
class Plans {
 public:
  explicit Plans(Context&) { check_blas(cublasLtCreate(library_.out()), "cublasLtCreate"); }

  /// Why there is no way, or null, the product having been computed.
  const char* run(Context& ctx, const Matmul& product) {
    const Problem problem = problem_of(product);
    const auto [plan, is_new] = plans_.try_emplace(problem);
    if (is_new) plan->second = std::make_unique<Plan>(library_.get(), problem, product);
    if (!plan->second->is_possible()) return plan->second->why_not();
    plan->second->run(ctx, library_.get(), product);
    return nullptr;
  }

 private:
  Library library_;
  std::map<Problem, std::unique_ptr<Plan>> plans_;
};

/// Whether epilogues with GELU or sums are worth it. Others measured that on Hopper and data-centre Blackwell
/// they are part of the kernels, and on older and small devices run after them, slower than our own
/// (docs/gpu.md).
bool fuses_epilogues(Context& ctx) {
  const int major = ctx.service<ComputeCapability>().major();
  return major == 9 || major == 10;
}

}  // namespace

void matmul(Context& ctx, const Matmul& p) {
  if (const char* why_not = ctx.service<Plans>().run(ctx, p)) {
    throw_environment("cuBLASLt has no algorithm to multiply {} by {} {} into {} {}: {}",
                      to_string(p.a.matrix.shape()), to_string(p.b.shape()), to_string(p.b.dtype()),
                      to_string(p.c.dtype()), to_string(p.c.matrix.shape()), why_not);
  }
}

bool matmul_with_epilogue(Context& ctx, const Matmul& p) {
  constexpr int64_t kAuxUnit = 8;
  if (!fuses_epilogues(ctx)) return false;
  // In fp32 GELU stays with our kernels: no manual says how accurate the library's tanh is.
  if (is_matrix_aux(p.epilogue) &&
      (p.c.dtype() == DType::f32 || p.c.count % kAuxUnit != 0 || alignment_of(p.aux.raw()) < 16)) {
    return false;
  }
  return ctx.service<Plans>().run(ctx, p) == nullptr;
}

}  // namespace trireme::ops::cuda

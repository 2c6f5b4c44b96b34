// Matrix products of the host's stand-in for cuBLAS: matrices lie columns first, sums are in double.
#include <cmath>
#include <numbers>
#include <optional>
#include <vector>

#include "runtime/base/float8.h"
#include "runtime/base/half.h"
#include "runtime/device/cuda/late_blas.h"
#include "tests/support/cuda_on_host/cublasLt.h"
#include "tests/support/cuda_on_host/device_memory.h"

struct cublasLtMatmulDesc {
  cublasOperation_t transa = CUBLAS_OP_N, transb = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  void *bias = nullptr, *aux = nullptr;  // bias: or where its gradient goes
  int64_t aux_stride = 0;
  const float *a_scale = nullptr, *b_scale = nullptr;
  cudaDataType_t bias_type = CUDA_R_32F;
};
struct cublasLtMatrixLayout {
  cudaDataType_t type;
  int64_t rows, columns, stride;
};
struct cublasLtMatmulPreference {
  uint64_t workspace_bytes = 0;
  unsigned alignment[4] = {256, 256, 256, 256};
};

void trireme::cuda::open_blas() {}  // it is here

namespace {

/// Calls body with a value of the type.
template <class Body>
auto with_type(cudaDataType_t type, Body&& body) {
  switch (type) {
    case CUDA_R_16BF:
      return body(trireme::bf16{});
    case CUDA_R_16F:
      return body(trireme::fp16{});
    case CUDA_R_8F_E4M3:
      return body(trireme::fp8_e4m3{});
    case CUDA_R_8F_E5M2:
      return body(trireme::fp8_e5m2{});
    default:
      return body(float{});
  }
}
double read(const void* p, cudaDataType_t type, int64_t i) {
  return with_type(type, [&]<class T>(T) { return double{static_cast<float>(static_cast<const T*>(p)[i])}; });
}
void write(void* p, cudaDataType_t type, int64_t i, double value) {
  with_type(type, [&]<class T>(T) { static_cast<T*>(p)[i] = T(static_cast<float>(value)); });
}
bool is_float8(cudaDataType_t type) { return type == CUDA_R_8F_E4M3 || type == CUDA_R_8F_E5M2; }

struct Matrix {
  const void* p;
  cudaDataType_t type;
  int64_t stride;
  bool transposed;
  std::vector<double> values(int64_t rows, int64_t columns) const {  // row by row
    std::vector<double> out;
    out.reserve(static_cast<size_t>(rows * columns));
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c)
        out.push_back(read(p, type, transposed ? c + r * stride : r + c * stride));
    }
    return out;
  }
};

/// Calls result(row, column, sum) for each element of a[m,k] b[k,n].
template <class Result>
void multiply(int64_t m, int64_t n, int64_t k, const Matrix& a, Matrix b, Result&& result) {
  b.transposed = !b.transposed;
  const auto rows = a.values(m, k), columns = b.values(n, k);
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = 0; i < m; ++i) {
      double sum = 0;
      for (int64_t l = 0; l < k; ++l)
        sum += rows[static_cast<size_t>(i * k + l)] * columns[static_cast<size_t>(j * k + l)];
      result(i, j, sum);
    }
  }
}

/// What a kernel may do: after the stream's earlier work, in this thread's device memory.
class Running {
 public:
  explicit Running(cudaStream_t stream) {
    if (stream != nullptr) {
      TRIREME_CHECK(!stream->part().capture, "this stand-in does not capture the call");
      stream->drain();
    }
    access_.emplace();
  }

 private:
  std::optional<trireme::cuda_on_host::DeviceAccess> access_;
};

bool is_at(const void* p, unsigned alignment) { return reinterpret_cast<uintptr_t>(p) % alignment == 0; }

/// The largest power of two, up to 16, that divides it.
unsigned alignment_of(const void* p) {
  unsigned alignment = 16;
  while (!is_at(p, alignment)) alignment /= 2;
  return alignment;
}

/// What the manual asks of an epilogue's vectors and matrices.
cublasStatus_t check_epilogue(const cublasLtMatmulDesc& m, const cublasLtMatrixLayout& d) {
  if (m.epilogue == CUBLASLT_EPILOGUE_DEFAULT) return CUBLAS_STATUS_SUCCESS;
  const bool has_bias = (m.epilogue & (CUBLASLT_EPILOGUE_BIAS | CUBLASLT_EPILOGUE_BGRADB)) != 0;
  if (has_bias && (m.bias == nullptr || m.bias_type != d.type)) return CUBLAS_STATUS_INVALID_VALUE;
  const bool has_aux = (m.epilogue & 128) != 0;
  if (has_aux && (m.aux == nullptr || m.aux_stride % 8 != 0 || m.aux_stride < d.rows))
    return CUBLAS_STATUS_INVALID_VALUE;
  const bool is_bias_alone = m.epilogue == CUBLASLT_EPILOGUE_BIAS;
  if (d.rows == 1 || d.columns == 1 || !(is_bias_alone || trireme::cuda_on_host::has_epilogues()))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  return CUBLAS_STATUS_SUCCESS;
}

/// The tanh form.
double gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}
double gelu_slope(double x) {
  const double scale = std::sqrt(2 / std::numbers::pi), t = std::tanh(scale * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * scale * (1 + 3 * 0.044715 * x * x);
}

/// What is stored of element (i, j) in place of a sum.
double after_epilogue(const cublasLtMatmulDesc& m, cudaDataType_t type, int64_t i, int64_t j, double sum) {
  if ((m.epilogue & CUBLASLT_EPILOGUE_BIAS) != 0) sum += read(m.bias, m.bias_type, i);
  const int64_t at = i + j * m.aux_stride;
  if (m.epilogue == CUBLASLT_EPILOGUE_DGELU) return sum * gelu_slope(read(m.aux, type, at));
  if ((m.epilogue & CUBLASLT_EPILOGUE_GELU_AUX) != CUBLASLT_EPILOGUE_GELU_AUX) return sum;
  write(m.aux, type, at, sum);
  return gelu(sum);
}

template <class Value>
void set(Value& to, const void* value, size_t bytes) {
  TRIREME_CHECK(bytes == sizeof to, "an attribute of {} bytes, not {}", sizeof to, bytes);
  std::memcpy(&to, value, bytes);
}

}  // namespace

bool& trireme::cuda_on_host::has_epilogues() {
  static bool has = true;
  return has;
}

cublasStatus_t cublasGemmEx_64(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                               int64_t m, int64_t n, int64_t k, const void* alpha, const void* a,
                               cudaDataType_t a_type, int64_t lda, const void* b, cudaDataType_t b_type,
                               int64_t ldb, const void* beta, void* c, cudaDataType_t c_type, int64_t ldc,
                               cublasComputeType_t, cublasGemmAlgo_t) {
  const Running running(handle->stream);
  const bool ta = transa == CUBLAS_OP_T, tb = transb == CUBLAS_OP_T;
  if (lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m) return CUBLAS_STATUS_INVALID_VALUE;
  if (a_type != b_type || (c_type != a_type && c_type != CUDA_R_32F)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const double factor = *static_cast<const float*>(alpha), kept = *static_cast<const float*>(beta);
  multiply(m, n, k, {a, a_type, lda, ta}, {b, b_type, ldb, tb}, [&](int64_t i, int64_t j, double sum) {
    const int64_t at = i + j * ldc;
    write(c, c_type, at, factor * sum + (kept != 0 ? kept * read(c, c_type, at) : 0));
  });
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmGroupedBatchedEx_64(cublasHandle_t handle, const cublasOperation_t* transa,
                                             const cublasOperation_t* transb, const int64_t* m,
                                             const int64_t* n, const int64_t* k, const void* alpha,
                                             const void* const* a, cudaDataType_t a_type, const int64_t* lda,
                                             const void* const* b, cudaDataType_t b_type, const int64_t* ldb,
                                             const void* beta, void* const* c, cudaDataType_t c_type,
                                             const int64_t* ldc, int64_t group_count,
                                             const int64_t* group_size, cublasComputeType_t compute) {
  if (a_type != b_type || a_type != c_type) return CUBLAS_STATUS_NOT_SUPPORTED;
  const Running running(handle->stream);  // the arrays of addresses lie on the device
  int64_t problem = 0;
  for (int64_t g = 0; g < group_count; ++g) {
    for (int64_t i = 0; i < group_size[g]; ++i, ++problem) {
      if (!is_at(a[problem], 16) || !is_at(b[problem], 16) || !is_at(c[problem], 16))
        return CUBLAS_STATUS_INVALID_VALUE;
      const cublasStatus_t status = cublasGemmEx_64(
          handle, transa[g], transb[g], m[g], n[g], k[g], static_cast<const float*>(alpha) + g, a[problem],
          a_type, lda[g], b[problem], b_type, ldb[g], static_cast<const float*>(beta) + g, c[problem], c_type,
          ldc[g], compute, CUBLAS_GEMM_DEFAULT);
      if (status != CUBLAS_STATUS_SUCCESS) return status;
    }
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* description, cublasComputeType_t,
                                        cudaDataType_t) {
  return *description = new cublasLtMatmulDesc, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t description) {
  return delete description, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
                                              cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return set(d->transa, value, bytes), CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return set(d->transb, value, bytes), CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return set(d->epilogue, value, bytes), CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return set(d->bias, value, bytes), CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
      return set(d->aux, value, bytes), CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
      return set(d->aux_stride, value, bytes), CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_A_SCALE_POINTER:
      return set(d->a_scale, value, bytes), CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_B_SCALE_POINTER:
      return set(d->b_scale, value, bytes), CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return set(d->bias_type, value, bytes), CUBLAS_STATUS_SUCCESS;
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type, uint64_t rows,
                                          uint64_t columns, int64_t stride) {
  if (stride < static_cast<int64_t>(rows)) return CUBLAS_STATUS_INVALID_VALUE;
  *layout = new cublasLtMatrixLayout{type, static_cast<int64_t>(rows), static_cast<int64_t>(columns), stride};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  return delete layout, CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  return *preference = new cublasLtMatmulPreference, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  return delete preference, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) {
    return set(preference->workspace_bytes, value, bytes), CUBLAS_STATUS_SUCCESS;
  }
  const int matrix = attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;
  return set(preference->alignment[matrix], value, bytes), CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t description,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
  *found = 0;
  if (is_float8(a->type) || is_float8(b->type)) {
    const bool is_inner_contiguous = description->transa == CUBLAS_OP_T && description->transb == CUBLAS_OP_N;
    const bool is_whole = a->rows % 16 == 0 && a->columns % 16 == 0 && b->columns % 16 == 0;
    if (!is_inner_contiguous || !is_whole || !is_float8(a->type) || !is_float8(b->type) ||
        (a->type == CUDA_R_8F_E5M2 && b->type == CUDA_R_8F_E5M2)) {
      return CUBLAS_STATUS_NOT_SUPPORTED;
    }
  } else if (a->type != b->type || (d->type != a->type && d->type != CUDA_R_32F)) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  if (c->type != d->type || c->rows != d->rows || c->columns != d->columns)
    return CUBLAS_STATUS_INVALID_VALUE;
  if (const cublasStatus_t status = check_epilogue(*description, *d); status != CUBLAS_STATUS_SUCCESS)
    return status;
  // Some workspace, so that the caller has to bring it.
  results[0].workspaceSize = std::min<size_t>(preference->workspace_bytes, 512);
  std::copy(std::begin(preference->alignment), std::end(preference->alignment), results[0].algo.alignment);
  results[0].algo.bias_alignment = alignment_of(description->bias);
  results[0].algo.aux_alignment = alignment_of(description->aux);
  return *found = 1, CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t description, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
  if (stream != nullptr && stream->part().capture) {
    const auto value = [](const void* p) { return *static_cast<const float*>(p); };
    stream->run([=, desc = *description, factor = value(alpha), kept = value(beta), la = *a_layout,
                 lb = *b_layout, lc = *c_layout, ld = *d_layout, algo = *algorithm]() mutable {
      const cublasStatus_t status = cublasLtMatmul(nullptr, &desc, &factor, a, &la, b, &lb, &kept, c, &lc, d,
                                                   &ld, &algo, workspace, workspace_bytes, nullptr);
      TRIREME_CHECK(status == CUBLAS_STATUS_SUCCESS, "a captured product is refused");
    });
    return CUBLAS_STATUS_SUCCESS;
  }
  const Running running(stream);
  const auto& alignment = algorithm->alignment;
  if (!is_at(a, alignment[0]) || !is_at(b, alignment[1]) || !is_at(c, alignment[2]) ||
      !is_at(d, alignment[3]) || !is_at(description->bias, algorithm->bias_alignment) ||
      !is_at(description->aux, algorithm->aux_alignment))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (const cublasStatus_t status = check_epilogue(*description, *d_layout); status != CUBLAS_STATUS_SUCCESS)
    return status;
  const bool ta = description->transa == CUBLAS_OP_T, tb = description->transb == CUBLAS_OP_T;
  const int64_t m = d_layout->rows, n = d_layout->columns, k = ta ? a_layout->rows : a_layout->columns;
  if ((ta ? a_layout->columns : a_layout->rows) != m || (tb ? b_layout->rows : b_layout->columns) != n ||
      (tb ? b_layout->columns : b_layout->rows) != k) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  std::memset(workspace, 0xff, workspace_bytes);
  double factor = *static_cast<const float*>(alpha);
  if (description->a_scale != nullptr)
    factor *= double{*description->a_scale} * double{*description->b_scale};
  const double kept = *static_cast<const float*>(beta);
  const Matrix left{a, a_layout->type, a_layout->stride, ta}, right{b, b_layout->type, b_layout->stride, tb};
  multiply(m, n, k, left, right, [&](int64_t i, int64_t j, double sum) {
    double value = factor * sum;
    if (kept != 0) value += kept * read(c, c_layout->type, i + j * c_layout->stride);
    value = after_epilogue(*description, d_layout->type, i, j, value);
    write(d, d_layout->type, i + j * d_layout->stride, value);
  });
  if (description->epilogue == CUBLASLT_EPILOGUE_BGRADB) {
    const std::vector<double> values = right.values(k, n);
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < k; ++l) sum += values[static_cast<size_t>(l * n + j)];
      write(description->bias, description->bias_type, j, sum);
    }
  }
  return CUBLAS_STATUS_SUCCESS;
}

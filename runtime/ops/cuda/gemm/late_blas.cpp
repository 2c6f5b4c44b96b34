// cuBLAS and cuBLASLt, opened when a device is taken. Linked, they would cost every start of the program 0.1
// s of processor time and 200 MiB, on machines without a device too. What is defined here has the names and
// types of NVIDIA's headers, and passes on.
#include "runtime/device/cuda/late_blas.h"

#include <cublas_v2.h>
#include <cublasLt.h>
#include <dlfcn.h>

#include "runtime/base/error.h"

namespace {

// Whole names, by which tests/gpu/libraries.sh finds what a program opens.
#define TRIREME_TEXT_OF(number) #number
#define TRIREME_LIBRARY(name, version) name ".so." TRIREME_TEXT_OF(version)

void* opened(const char* file) {
  void* const library = ::dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) trireme::throw_environment("products on a GPU need {}: {}", file, ::dlerror());
  return library;
}

void* blas() {
  static void* const library = opened(TRIREME_LIBRARY("libcublas", CUBLAS_VER_MAJOR));
  return library;
}

void* blas_lt() {
  static void* const library = opened(TRIREME_LIBRARY("libcublasLt", CUBLAS_VER_MAJOR));
  return library;
}

template <class Function>
Function* found(void* library, const char* name) {
  void* const symbol = ::dlsym(library, name);
  if (symbol == nullptr) trireme::throw_environment("cuBLAS {} has no {}", CUBLAS_VER_MAJOR, name);
  return reinterpret_cast<Function*>(symbol);
}

}  // namespace

namespace trireme::cuda {

void open_blas() {
  blas();
  blas_lt();
}

}  // namespace trireme::cuda

#define TRIREME_PASS_ON(library, name, ...)                          \
  static auto* const late = found<decltype(name)>(library(), #name); \
  return late(__VA_ARGS__)

extern "C" {

const char* cublasGetStatusName(cublasStatus_t status) { TRIREME_PASS_ON(blas, cublasGetStatusName, status); }

const char* cublasGetStatusString(cublasStatus_t status) {
  TRIREME_PASS_ON(blas, cublasGetStatusString, status);
}

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) { TRIREME_PASS_ON(blas, cublasCreate_v2, handle); }

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) { TRIREME_PASS_ON(blas, cublasDestroy_v2, handle); }

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
  TRIREME_PASS_ON(blas, cublasSetStream_v2, handle, stream);
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void* workspace, size_t bytes) {
  TRIREME_PASS_ON(blas, cublasSetWorkspace_v2, handle, workspace, bytes);
}

cublasStatus_t cublasGemmEx_64(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b,
                               int64_t m, int64_t n, int64_t k, const void* alpha, const void* a,
                               cudaDataType type_a, int64_t lda, const void* b, cudaDataType type_b,
                               int64_t ldb, const void* beta, void* c, cudaDataType type_c, int64_t ldc,
                               cublasComputeType_t compute, cublasGemmAlgo_t algorithm) {
  TRIREME_PASS_ON(blas, cublasGemmEx_64, handle, op_a, op_b, m, n, k, alpha, a, type_a, lda, b, type_b, ldb,
                  beta, c, type_c, ldc, compute, algorithm);
}

cublasStatus_t cublasGemmGroupedBatchedEx_64(
    cublasHandle_t handle, const cublasOperation_t op_a[], const cublasOperation_t op_b[], const int64_t m[],
    const int64_t n[], const int64_t k[], const void* alpha, const void* const a[], cudaDataType_t type_a,
    const int64_t lda[], const void* const b[], cudaDataType_t type_b, const int64_t ldb[], const void* beta,
    void* const c[], cudaDataType_t type_c, const int64_t ldc[], int64_t num_groups,
    const int64_t group_sizes[], cublasComputeType_t compute) {
  TRIREME_PASS_ON(blas, cublasGemmGroupedBatchedEx_64, handle, op_a, op_b, m, n, k, alpha, a, type_a, lda, b,
                  type_b, ldb, beta, c, type_c, ldc, num_groups, group_sizes, compute);
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) { TRIREME_PASS_ON(blas_lt, cublasLtCreate, handle); }

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { TRIREME_PASS_ON(blas_lt, cublasLtDestroy, handle); }

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t description, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t layout_a, const void* b,
                              cublasLtMatrixLayout_t layout_b, const void* beta, const void* c,
                              cublasLtMatrixLayout_t layout_c, void* d, cublasLtMatrixLayout_t layout_d,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
  TRIREME_PASS_ON(blas_lt, cublasLtMatmul, handle, description, alpha, a, layout_a, b, layout_b, beta, c,
                  layout_c, d, layout_d, algorithm, workspace, workspace_bytes, stream);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t description,
                                              cublasLtMatrixLayout_t layout_a,
                                              cublasLtMatrixLayout_t layout_b,
                                              cublasLtMatrixLayout_t layout_c,
                                              cublasLtMatrixLayout_t layout_d,
                                              cublasLtMatmulPreference_t preference, int most,
                                              cublasLtMatmulHeuristicResult_t results[], int* num_results) {
  TRIREME_PASS_ON(blas_lt, cublasLtMatmulAlgoGetHeuristic, handle, description, layout_a, layout_b, layout_c,
                  layout_d, preference, most, results, num_results);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* made, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  TRIREME_PASS_ON(blas_lt, cublasLtMatmulDescCreate, made, compute, scale);
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t description) {
  TRIREME_PASS_ON(blas_lt, cublasLtMatmulDescDestroy, description);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t description,
                                              cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              size_t bytes) {
  TRIREME_PASS_ON(blas_lt, cublasLtMatmulDescSetAttribute, description, attribute, value, bytes);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* made) {
  TRIREME_PASS_ON(blas_lt, cublasLtMatmulPreferenceCreate, made);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  TRIREME_PASS_ON(blas_lt, cublasLtMatmulPreferenceDestroy, preference);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  TRIREME_PASS_ON(blas_lt, cublasLtMatmulPreferenceSetAttribute, preference, attribute, value, bytes);
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* made, cudaDataType type, uint64_t rows,
                                          uint64_t columns, int64_t stride) {
  TRIREME_PASS_ON(blas_lt, cublasLtMatrixLayoutCreate, made, type, rows, columns, stride);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  TRIREME_PASS_ON(blas_lt, cublasLtMatrixLayoutDestroy, layout);
}
}

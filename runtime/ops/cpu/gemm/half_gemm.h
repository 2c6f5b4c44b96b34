// Products of half types by oneDNN.
#pragma once

#include "runtime/ops/gemm/gemm.h"

namespace trireme::ops::cpu {

/// What oneDNN multiplies at a time.
enum class RowBlocks : uint8_t {
  by_size,  ///< all rows, or blocks that follow from the sizes
  of_64,    ///< 64 rows, the last ones with others beside them: every product has the same shape
};

/// A product with K > 0, on at most `num_threads` threads. False where oneDNN has no fast one for this
/// machine; then nothing is done. of_64: forward products alone.
bool half_gemm(Context& ctx, int num_threads, RowBlocks rows, const GemmOptions& options, const Columns& a,
               const Tensor& b, const Tensor& bias, const Columns& c);

/// How forward products of a half type are divided, and whether a row's bits then depend on the others (ops::
/// rows_are_independent). Found out at the first call in a process.
struct HalfRows {
  RowBlocks blocks = RowBlocks::by_size;
  bool independent = true;
};
HalfRows half_rows(DType dtype);

/// Compares products of a few rows with the first rows of products of many, bit by bit.
bool are_independent(DType dtype, RowBlocks rows);

}  // namespace trireme::ops::cpu

// Products of few rows with sparse panels of int8 (integers/panels.h), for processors with AVX-512 VBMI2 and
// VNNI.
#pragma once

#include "runtime/ops/cpu/packed/integers/integer_kernels.h"

namespace trireme::ops::cpu {

inline constexpr int64_t kFewInt8Rows = 4;

/// As PanelKernels::integers of PanelKind::int8, bit for bit, rows <= kFewInt8Rows: codes are expanded in
/// registers alone.
using FewInt8Rows = void (*)(const PanelLayout& layout, const SparsePanel& panel, const QuantizedRows& x,
                             int64_t rows, float* sums);
/// Null where the machine lacks the instructions.
FewInt8Rows few_int8_rows();

}  // namespace trireme::ops::cpu

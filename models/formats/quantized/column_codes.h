// Matrices as GPTQ and AWQ store them: transposed, so that a column of the file is an output.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "models/formats/quantized/stored_codes.h"
#include "models/formats/quantized/stored_numbers.h"

namespace trireme {

/// gptq: eight (of 8 bits: four) inputs in a word of qweight, and zero points less one. gptq_v2: the zero
/// points themselves. awq: eight outputs in a word, in an order of their own.
enum class ColumnFormat : uint8_t { gptq, gptq_v2, awq };

struct ColumnScheme {
  ColumnFormat format = ColumnFormat::gptq;
  int bits = 4;
  int64_t group = 0;        ///< 0: one scale for all inputs
  bool may_differ = false;  ///< bits and groups may be others in some matrices (GPTQ's "dynamic")
};

/// Where AWQ's word has the output `within` (below 8) of its eight: which four bits.
constexpr int64_t awq_place(int64_t within) { return within % 2 * 4 + within / 2; }

bool has_column_codes(const StoredTensors& tensors, const std::string& module);
/// `module`.qweight, .qzeros, .scales and, of GPTQ, .g_idx. Zero points that are all those of symmetric codes
/// make it symmetric. UserError (bad_input) naming `path` and tensor for what is missing, or of another type
/// or shape than the scheme's. `tensors` outlive it.
std::unique_ptr<StoredCodes> open_column_codes(const StoredTensors& tensors, const std::string& path,
                                               const std::string& module, const ColumnScheme& scheme);

}  // namespace trireme

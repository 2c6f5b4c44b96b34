// Matrices of codes as GPTQ and AWQ store them.
#pragma once

#include <string>
#include <vector>

#include "models/formats/quantized/column_codes.h"
#include "models/formats/quantized/encoded_tensor.h"

namespace trireme {

/// qweight, qzeros, scales and, of GPTQ, g_idx. UserError (usage) naming `module` for a scale that is no
/// number of fp16, and of AWQ for an order of inputs.
std::vector<EncodedTensor> encode_columns(const std::string& module, const ops::CodedMatrix& matrix,
                                          ColumnFormat format);
/// What encode_columns() gives for a matrix.
std::vector<TensorSpec> specs_of_columns(const std::string& module, const Shape& shape,
                                         const ops::PackedSpec& spec, ColumnFormat format);

}  // namespace trireme

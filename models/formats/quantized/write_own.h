// Writes our own file of quantized weights.
#pragma once

#include <string>
#include <vector>

#include "models/formats/quantized/quantized_files.h"

namespace trireme {

/// write_quantized() of QuantizedFormat::own. `path`: the file.
void write_own_quantized(const std::string& path, const std::vector<QuantizedTensor>& tensors,
                         const QuantizedContent& content, const QuantizedWriteOptions& options);

/// A matrix of codes, or values, of a tensor; CHECKed to be what it is to be. UserError (bad_input) naming
/// the tensor where a value is not finite.
ops::CodedMatrix matrix_of(const QuantizedTensor& tensor, const QuantizedContent& content);
std::vector<float> values_of(const QuantizedTensor& tensor, const QuantizedContent& content);

}  // namespace trireme

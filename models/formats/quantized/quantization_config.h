// "quantization_config" of a config.json of transformers.
#pragma once

#include <string>
#include <vector>

#include "models/formats/hf/hf_keys.h"
#include "models/formats/quantized/column_codes.h"
#include "models/formats/quantized/compressed_codes.h"
#include "models/formats/quantized/quantized_files.h"

namespace trireme {

struct FileQuantization {
  QuantizedFormat method = QuantizedFormat::compressed_tensors;
  /// Of compressed-tensors, without repetitions. Which one a matrix has its tensors say: they are of no
  /// other.
  std::vector<CodeScheme> schemes;
  ColumnScheme columns;                                    ///< of GPTQ and AWQ
  ops::Activations activations = ops::Activations::exact;  ///< of a row in int8 where a group has such
};

/// `keys`: of config.json as a whole, which has "quantization_config". Refuses what is not read, by its name,
/// with what is.
FileQuantization read_quantization_config(const hf::HfKeys& keys);

}  // namespace trireme

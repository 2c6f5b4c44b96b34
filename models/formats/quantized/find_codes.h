// Which tensors of a directory of transformers are matrices of codes.
#pragma once

#include <string>

#include "models/formats/quantized/coded_tensors.h"
#include "models/formats/quantized/quantization_config.h"

namespace trireme {

/// Fills codes and parts of `all` from its tensors. A module without codes is as it is, whatever the
/// configuration's targets say. UserError (bad_input) naming `path` and tensor for codes that are of none of
/// the configuration's groups, and as open_compressed_codes() and open_column_codes().
void find_codes(CodedTensors& all, const FileQuantization& config, const std::string& path);

}  // namespace trireme

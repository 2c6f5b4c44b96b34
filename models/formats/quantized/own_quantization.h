// What a file of ours says about its quantized matrices, in the metadata of its header.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "models/formats/quantized/compressed_codes.h"
#include "models/formats/quantized/quantized_files.h"
#include "runtime/io/safetensors/safetensors.h"

namespace trireme {

struct OwnQuantization {
  ops::Activations activations = ops::Activations::exact;
  std::map<std::string, ops::PackedSpec, std::less<>> matrices;  ///< by the names of parameters
};

/// The key of the metadata.
inline constexpr std::string_view kOwnQuantization = "quantization";

std::string write_own_quantization(const OwnQuantization& quantization);
/// Nothing where the file has none. UserError (bad_input) naming file, matrix and key for what is wrong, and
/// for files of a later version.
std::optional<OwnQuantization> read_own_quantization(const SafetensorsReader& file);

/// The rows of a token table in a file of ours, as numbers or codes; nothing where it has none.
std::optional<int64_t> token_table_rows(const SafetensorsReader& file);

CodeScheme scheme_of(const ops::PackedSpec& spec);

}  // namespace trireme

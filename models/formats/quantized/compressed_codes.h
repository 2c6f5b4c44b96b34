// Matrices as compressed-tensors stores them, which our own files do too: integers of 4 or 8 bits packed
// densely into words of 32, int8 numbers, or 8-bit floats, each with scales.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "models/formats/quantized/stored_codes.h"
#include "models/formats/quantized/stored_numbers.h"

namespace trireme {

/// A tensor of a module.
inline std::string part_name(const std::string& module, std::string_view end) {
  return module + std::string(end);
}

/// How codes of a matrix are to be understood.
struct CodeScheme {
  enum class Strategy : uint8_t { tensor, channel, group };
  int bits = 4;
  bool is_float = false;  ///< E4M3
  bool symmetric = true;
  Strategy strategy = Strategy::group;
  int64_t group = 0;  ///< of Strategy::group

  friend bool operator==(const CodeScheme&, const CodeScheme&) = default;
};

/// What stands behind a module's name ("layers.0.attention.query") in the names of its tensors.
inline constexpr std::string_view kPacked = ".weight_packed", kWeight = ".weight", kScale = ".weight_scale",
                                  kZeroPoint = ".weight_zero_point", kGroups = ".weight_g_idx",
                                  kShape = ".weight_shape";
/// Scales of activations, for which nothing is computed here.
inline constexpr std::array<std::string_view, 4> kActivationTensors = {".input_scale", ".input_zero_point",
                                                                       ".output_scale", ".output_zero_point"};

/// The matrix of `module`, as weight_packed, or as weight of int8 or E4M3. UserError (bad_input) naming
/// `path` and tensor for one that is missing, or of another type or shape than the scheme's. `tensors`
/// outlive it.
std::unique_ptr<StoredCodes> open_compressed_codes(const StoredTensors& tensors, const std::string& path,
                                                   const std::string& module, const CodeScheme& scheme);
/// Of `module`: whether its matrix is stored so.
bool has_compressed_codes(const StoredTensors& tensors, const std::string& module);

}  // namespace trireme

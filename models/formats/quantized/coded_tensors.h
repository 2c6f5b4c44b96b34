// The tensors of a file or directory of which some are matrices of codes: as RawTensors, those under the
// names that they would have as numbers.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "models/formats/mapped_weights.h"
#include "models/formats/quantized/stored_codes.h"
#include "models/formats/quantized/stored_numbers.h"
#include "models/formats/quantized/stored_sparse.h"

namespace trireme {

struct CodedTensors {
  std::shared_ptr<const void> files;         ///< what holds the bytes of `tensors`
  std::function<void()> release_pages = {};  ///< of these; may be missing
  StoredTensors tensors;
  std::map<std::string, std::unique_ptr<StoredCodes>, std::less<>> codes;  ///< "layers.0.ffn.up.weight"
  /// Values, and codes which are in `codes` too (null here), that are stored without their zeros.
  std::map<std::string, std::unique_ptr<StoredSparse>, std::less<>> sparse = {};
  std::set<std::string, std::less<>> parts;  ///< names in `tensors` that codes are made of: no tensors
  std::set<std::string, std::less<>> empty_biases = {};  ///< biases of zeros, which the model may not have

  /// Whether there is a tensor of this name, as numbers or codes.
  bool has(std::string_view name) const {
    return codes.contains(name) || sparse.contains(name) || (tensors.contains(name) && !parts.contains(name));
  }
};

/// Codes are read as f32. UserError (bad_input) as StoredCodes, and `path` and tensor for one that is of no
/// compute type when it is read.
std::unique_ptr<RawTensors> raw_coded_tensors(CodedTensors tensors, std::string path);

}  // namespace trireme

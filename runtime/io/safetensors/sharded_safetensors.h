// Parts of tensors in safetensors files, as torch.distributed.checkpoint's HuggingFaceStorageReader finds
// them: a file has at most one part of a tensor, under the tensor's name, and its metadata says where the
// part begins.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "runtime/io/safetensors/safetensors.h"

namespace trireme {

/// The metadata of a file whose tensors begin at these offsets in the whole tensors: one entry a tensor.
TextMap sharding_metadata(const std::vector<std::pair<std::string, Shape>>& offsets);

/// Where each tensor of the file begins in the whole tensor; zeros where the file has no such metadata.
/// UserError (bad_input) naming file and tensor when the metadata is not that of the tensors.
std::map<std::string, Shape, std::less<>> sharding_offsets(const SafetensorsReader& file);

}  // namespace trireme

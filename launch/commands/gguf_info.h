// What `trireme info FILE.gguf` shows.
#pragma once

#include <string>

namespace trireme::launch {

/// Format, sizes, types and metadata of a GGUF file; with `with_tensors` a line for each tensor. UserError
/// (bad_input) as GgufReader's.
std::string gguf_info(const std::string& path, bool with_tensors);

}  // namespace trireme::launch

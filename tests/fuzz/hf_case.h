// config.json of Hugging Face's models, and the index of their weights.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trireme::test {

/// `path` holds `input`: an index where it begins with "I", else a config.json. Whether it is read; ends the
/// program when the model that was read is not the one that is written for it.
bool run_hf(std::string_view input, const std::string& path);
std::vector<std::string> hf_seeds();

}  // namespace trireme::test

// What trireme info says of this machine, of the presets and of a file.
#pragma once

#include <span>
#include <string>

namespace trireme::launch {

void print_machine();
void print_presets();
/// args: the file, and perhaps --params. UserError (usage) for anything else, and those of gguf_info.
void print_model_file(std::span<const std::string> args);

}  // namespace trireme::launch

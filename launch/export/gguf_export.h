// trireme checkpoint export --format gguf, and the last step of a recipe: a file of llama.cpp.
#pragma once

#include <cstdio>

#include "launch/export/export_model.h"
#include "launch/export/exported_model.h"

namespace trireme::launch {

/// Writes options.out of options.type (options.path and .source have done their work), reads it back and
/// compares, and says what was written: as export_model(), whose errors it has. Codes of `model` stay what
/// they are where the type holds them; what does not is rounded anew, which a note says with the largest
/// change. `importance` weighs errors of q4_k_m; null: all inputs alike.
void export_gguf(const ExportOptions& options, const ExportedModel& model, const InputImportance& importance,
                 std::FILE* out);

}  // namespace trireme::launch

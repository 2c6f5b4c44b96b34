// trireme checkpoint export --format compressed-tensors|gptq|awq: models with quantized matrices for other
// programs.
#pragma once

#include <cstdio>

#include "launch/export/export_model.h"
#include "models/formats/quantized/quantized_files.h"

namespace trireme::launch {

/// What export_model() does for these formats. Codes of our own file stay as they are; of a model of numbers
/// the matrices of layers are rounded to nearest as options.rounding says. Read back, the files must compute
/// the same logits, else nothing is left.
void export_quantized(const ExportOptions& options, QuantizedFormat format, std::FILE* out);

}  // namespace trireme::launch

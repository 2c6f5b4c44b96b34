// What exports of all formats check and say at their end.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "launch/export/export_model.h"
#include "models/config/model_config.h"
#include "models/formats/parameter_values.h"
#include "parallel/checkpoint/weights/weight_source.h"

namespace trireme::launch {

/// "q4_k_m", as --dtype has it.
const char* name_of(ExportType type);

/// Compares what `expected` and the files compute, one model after the other. Returns a sentence. UserError
/// (numerics) where logits are further apart than `allowed`, of the largest.
std::string check_logits(const ExportOptions& options, const ModelConfig& config,
                         const ParameterValues& expected, const ModelConfig& read_config,
                         const WeightSource& read, double allowed);

/// `checked`: the sentence of check_logits(); empty: nothing was checked.
void report_export(const ExportOptions& options, const std::vector<std::string>& notes,
                   const std::string& checked, std::FILE* out);

}  // namespace trireme::launch

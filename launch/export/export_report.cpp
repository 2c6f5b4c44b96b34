#include "launch/export/export_report.h"

#include <algorithm>
#include <span>

#include "launch/export/check_export.h"
#include "runtime/base/error.h"

namespace trireme::launch {

const char* name_of(ExportType type) {
  constexpr const char* kNames[] = {"fp32", "bf16", "fp16", "q8_0", "q4_0", "q4_k_m"};
  return kNames[static_cast<size_t>(type)];
}

std::string check_logits(const ExportOptions& options, const ModelConfig& config,
                         const ParameterValues& expected, const ModelConfig& read_config,
                         const WeightSource& read, double allowed) {
  const std::vector<float> mine = drawn_logits(config, [&](const Parameter& p, std::span<float> values) {
    const std::vector<float> whole = expected(p.name);
    std::ranges::copy(whole, values.begin());
  });
  const std::vector<float> back = drawn_logits(
      read_config, [&](const Parameter& p, std::span<float> values) { read.read(p.name, p, values); });
  const double apart = largest_difference(mine, back);
  if (!(apart <= allowed)) {
    throw_user(ExitCode::numerics,
               "{}: read back, it computes other logits than {}: {:.3g} of the largest apart, {:.0e} are "
               "allowed. Nothing was kept",
               options.out, options.path, apart, allowed);
  }
  return fmt::format(
      "read back: logits of {} drawn tokens are those of the checkpoint{}, {:.1e} of the largest apart",
      mine.size() / static_cast<size_t>(config.vocab_size),
      options.type == ExportType::fp32 ? "" : fmt::format(" rounded to {}", name_of(options.type)), apart);
}

void report_export(const ExportOptions& options, const std::vector<std::string>& notes,
                   const std::string& checked, std::FILE* out) {
  for (const std::string& note : notes) fmt::print(out, "note: {}\n", note);
  fmt::print(out, "{}\n", checked.empty() ? "not read back: --check off" : checked);
  fmt::print(out, "{}\n", options.out);
}

}  // namespace trireme::launch

// Values of a recipe's keys as texts, and back.
#include <cmath>

#include "launch/cli/options/option_values.h"
#include "launch/compress/recipe_keys.h"
#include "launch/compress/recipe_setters.h"
#include "launch/compress/step_methods.h"

namespace trireme::launch {

std::optional<ops::PackedSpec> parse_spec(const std::string& text) {
  const std::vector<std::string> parts = split_at(text, ':');
  if (text == "fp8") return ops::PackedSpec{.format = ops::PackedFormat::fp8};
  ops::PackedSpec spec{.group = kDefaultGroup};
  if (parts[0] == "int8") {
    spec.format = ops::PackedFormat::int8;
  } else if (parts[0] == "int4") {
    spec.format = ops::PackedFormat::int4;
  } else {
    return std::nullopt;
  }
  for (size_t i = 1; i < parts.size(); ++i) {
    const auto group = option_values::parse_number<int64_t>(parts[i]);
    if (i == 1 && group && (*group == 0 || *group == 32 || *group == 64 || *group == 128)) {
      spec.group = *group;
    } else if (i + 1 == parts.size() && parts[i] == "asymmetric") {
      spec.symmetric = false;
    } else {
      return std::nullopt;
    }
  }
  return spec;
}

std::string spec_text(const ops::PackedSpec& spec) {
  if (spec.format == ops::PackedFormat::fp8) return "fp8";
  return fmt::format("{}:{}{}", spec.format == ops::PackedFormat::int8 ? "int8" : "int4", spec.group,
                     spec.symmetric ? "" : ":asymmetric");
}

std::optional<CutAmount> parse_amount(const std::string& text) {
  if (text.ends_with('%')) {
    const auto part = text.starts_with('+') ? std::nullopt : parse_part(text);
    if (!part || !(*part > 0) || !(*part < 1)) return std::nullopt;
    return CutAmount{.part = *part};
  }
  const auto number = option_values::parse_number<int64_t>(text);
  if (!number || *number < 1) return std::nullopt;
  return CutAmount{.stay = *number};
}

std::string amount_text(const CutAmount& amount) {
  return amount.stay > 0 ? fmt::to_string(amount.stay) : fmt::format("{:g}%", 100 * amount.part);
}

std::optional<double> parse_part(std::string text) {
  if (text.starts_with('+')) text.erase(0, 1);
  const bool is_percent = text.ends_with('%');
  if (is_percent) text.pop_back();
  double divisor = is_percent ? 100 : 1;
  if (const size_t slash = text.find('/'); slash != std::string::npos && !is_percent) {
    const auto below = option_values::parse_number<double>(text.substr(slash + 1));
    if (!below || !(*below > 0)) return std::nullopt;
    divisor = *below;
    text.resize(slash);
  }
  const auto number = option_values::parse_number<double>(text);
  if (!number || !std::isfinite(*number)) return std::nullopt;
  return *number / divisor;
}

}  // namespace trireme::launch

// Strings of JSON schemas: lengths, patterns and formats.
#include "runtime/io/json/utf8.h"
#include "runtime/text/grammar/pattern_automaton.h"
#include "runtime/text/grammar/schema_compiler.h"

namespace trireme {
namespace {

constexpr std::string_view kFormats = "date, date-time, time, uuid";

// RFC 3339 without leap seconds; days as months have them.
std::string pattern_of_format(const std::string& format) {
  const std::string day = "(0[1-9]|1\\d|2[0-8])";
  const std::string leap = "(\\d\\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29";
  const std::string date =
      "(\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-" + day + ")|" +
      leap + ")";
  const std::string time =
      "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)";
  const std::string hex = "[0-9a-fA-F]";
  if (format == "date") return "^" + date + "$";
  if (format == "time") return "^" + time + "$";
  if (format == "date-time") return "^" + date + "T" + time + "$";
  if (format == "uuid") return "^" + hex + "{8}(-" + hex + "{4}){3}-" + hex + "{12}$";
  return "";
}

}  // namespace

uint32_t SchemaCompiler::strings(const SchemaView& view) {
  const Count count = count_of(view, "minLength", "maxLength");
  const auto pattern = view.find("pattern"), format = view.find("format");
  if (!pattern && !format) {
    if (count.least == 0 && count.most == ByteCounter::kUnlimited) return builder_.call(rules_.string, end_);
    return builder_.call(rules_.counted_string, end_, {count.least, count.most});
  }
  const SchemaPlace place = pattern ? pattern->place->at("pattern") : format->place->at("format");
  if (pattern && format) refuse_schema(place, "\"pattern\" and \"format\" together are not supported");
  const SchemaJson& value = pattern ? *pattern->value : *format->value;
  if (!value.is_string() || find_utf8_error(value.get_ref<const std::string&>()))
    refuse_schema(place, "it is no string");
  std::string text = value.get<std::string>();
  if (format) {
    text = pattern_of_format(text);
    if (text.empty()) {
      refuse_schema(place, "the format \"{}\" is not supported; those that are: {}",
                    shortened(value.get<std::string>()), kFormats);
    }
  }
  try {
    PatternAutomaton automaton = compile_pattern(text, pattern_steps_left_);
    if (count.least > 0 || count.most != ByteCounter::kUnlimited)
      automaton = of_length(automaton, count.least, count.most);
    return string_of(builder_, automaton, end_);
  } catch (const UserError& error) {
    refuse_schema(place, "the regular expression {}: {}", shortened(value.dump()), error.what());
  }
}

}  // namespace trireme

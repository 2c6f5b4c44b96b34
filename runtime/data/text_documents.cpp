#include "runtime/data/text_documents.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/data/tokens/token_format.h"
#include "runtime/io/digest/file_signs.h"
#include "runtime/io/json/json_file.h"

namespace trireme {
namespace {

bool has_json_lines_name(std::string_view path) {
  return path.ends_with(".jsonl") || path.ends_with(".ndjson");
}

// UTF-16 without a mark and data of any kind are full of zero bytes; text has none.
bool has_many_zeros(std::string_view bytes) {
  const std::string sample = sample_of(bytes);
  return static_cast<size_t>(std::ranges::count(sample, '\0')) * 20 > sample.size();
}

// What speaks against `file` being text; empty when nothing does.
std::string why_no_text(const MappedFile& file) {
  const std::string_view bytes = file.text();
  if (bytes.starts_with(kTokMagic) || (has_llmc_magic(file) && bytes.size() >= 1024)) {
    return "it is a token file: use --data.tokens";
  }
  if (const auto name = signature_of(bytes); !name.empty()) return fmt::format("it is {}", name);
  if (has_many_zeros(bytes)) return "it is full of zero bytes, as UTF-16 and binary files are";
  return "";
}

TextFormat format_of(const MappedFile& file, const TextInput& input) {
  return input.format == TextFormat::automatic ? detect_text_format(file) : input.format;
}

void visit_lines(const MappedFile& file, const std::string& field, uint64_t file_begin,
                 const std::function<void(const Document&)>& visit) {
  const std::string_view text = file.text();
  uint64_t line_number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    const size_t line_begin = begin;
    if (begin == 0 && line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);  // byte order mark
    begin = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string name = fmt::format("{}:{}", file.path(), line_number);
    check_utf8(line, {name, 0});
    const auto json = parse_json(line, name);
    const std::string what = fmt::format("\"{}\"", field);
    const std::string& document = json_string(json_member(json, field.c_str(), name), what, name);
    if (!document.empty()) visit({document, {name, 0}, file_begin + line_begin, true});
  }
}

}  // namespace

std::string_view to_string(TextFormat format) {
  switch (format) {
    case TextFormat::automatic:
      return "auto";
    case TextFormat::plain:
      return "text";
    case TextFormat::json_lines:
      return "jsonl";
  }
  TRIREME_CHECK(false, "format {}", static_cast<int>(format));
}

TextFormat parse_text_format(std::string_view name) {
  for (const auto format : {TextFormat::automatic, TextFormat::plain, TextFormat::json_lines}) {
    if (to_string(format) == name) return format;
  }
  throw_usage("unknown text format '{}'; known are auto, text and jsonl", name);
}

TextFormat detect_text_format(const MappedFile& file) {
  const std::string_view bytes = file.text();
  if (const std::string why = why_no_text(file); !why.empty()) {
    throw_bad_input("{} is not text: {} (to read its bytes anyway, give the format text by name)",
                    file.path(), why);
  }
  if (has_json_lines_name(file.path()) || begins_with_json_line(bytes)) return TextFormat::json_lines;
  if (begins_like_json(bytes)) {
    throw_bad_input(
        "{} is JSON, but not one object per line: convert it to JSON lines (for a list: jq -c '.[]'), "
        "or give the format text by name to read it as plain text, braces included",
        file.path());
  }
  return TextFormat::plain;
}

void for_each_document(const TextInput& input, const std::function<void(const Document&)>& visit) {
  uint64_t file_begin = 0;
  for (const auto& path : input.files) {
    const MappedFile file(path);
    if (format_of(file, input) == TextFormat::json_lines) {
      visit_lines(file, input.json_field, file_begin, visit);
    } else if (file.size() > 0) {
      visit({file.text(), {path, 0}, file_begin, false});
    }
    file_begin += file.size();
  }
}

uint64_t input_bytes(const TextInput& input) {
  uint64_t total = 0;
  for (const auto& path : input.files) total += MappedFile(path).size();
  return total;
}

}  // namespace trireme

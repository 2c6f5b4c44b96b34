#include "runtime/data/text_documents.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/io/json_file.h"
#include "runtime/io/mapped_file.h"

namespace trireme {
namespace {

bool is_jsonl(std::string_view path) { return path.ends_with(".jsonl") || path.ends_with(".ndjson"); }

void visit_lines(const MappedFile& file, const std::string& field, uint64_t file_begin,
                 const std::function<void(const Document&)>& visit) {
  const std::string_view text = file.text();
  uint64_t line_number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    const size_t line_begin = begin;
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

void for_each_document(const TextInput& input, const std::function<void(const Document&)>& visit) {
  uint64_t file_begin = 0;
  for (const auto& path : input.files) {
    const MappedFile file(path);
    if (is_jsonl(path)) {
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

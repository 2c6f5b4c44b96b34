// Text as it lies on disk: plain files, each one document, and JSONL, each line one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/files/mapped_file.h"
#include "runtime/io/json/utf8.h"

namespace trireme {

enum class TextFormat { automatic, plain, json_lines };

/// "auto", "text" or "jsonl".
std::string_view to_string(TextFormat format);

struct TextInput {
  std::vector<std::string> files;
  std::string json_field = "text";            ///< the member that holds a document
  TextFormat format = TextFormat::automatic;  ///< of all files; automatic: known by each file's content
};

struct Document {
  std::string_view text;  ///< valid during the call only; not checked to be UTF-8 when it is plain text
  TextOrigin origin;      ///< the file, with the line for JSONL
  uint64_t input_begin;   ///< where its bytes (or its line) begin in the input, all files one after the other
  bool is_line = false;   ///< a JSONL line; its text is shorter than the bytes it takes in the input
};

/// Plain text or JSON lines: a file is JSON lines when its first line is a JSON object or its name ends in
/// .jsonl or .ndjson. UserError(bad_input) naming what the file is when it is compressed, token ids, a JSON
/// document or another known format. Never automatic.
TextFormat detect_text_format(const MappedFile& file);

/// parse_text_format("jsonl"): the reverse of to_string; UserError(usage) for a name that is none.
TextFormat parse_text_format(std::string_view name);

/// Calls visit(document) for every document that is not empty, in order. UserError(bad_input) naming file
/// (and line) for an unreadable file, one that detect_text_format refuses, a line that is not a JSON object,
/// or one without a text in `json_field`.
void for_each_document(const TextInput& input, const std::function<void(const Document&)>& visit);

/// Bytes of all files. UserError(bad_input) when one cannot be read.
uint64_t input_bytes(const TextInput& input);

}  // namespace trireme

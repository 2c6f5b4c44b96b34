// Text as it lies on disk: plain files, each one document, and JSONL, each line one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/utf8.h"

namespace trireme {

struct TextInput {
  std::vector<std::string>
      files;  ///< .jsonl and .ndjson hold one JSON object a line; any other file is plain text
  std::string json_field = "text";  ///< the member that holds a document
};

struct Document {
  std::string_view text;  ///< valid during the call only; not checked to be UTF-8 when it is plain text
  TextOrigin origin;      ///< the file, with the line for JSONL
  uint64_t input_begin;   ///< where its bytes (or its line) begin in the input, all files one after the other
  bool is_line = false;   ///< a JSONL line; its text is shorter than the bytes it takes in the input
};

/// Calls visit(document) for every document that is not empty, in order. UserError(bad_input) naming file
/// (and line) for an unreadable file, a line that is not a JSON object, or one without a text in
/// `json_field`.
void for_each_document(const TextInput& input, const std::function<void(const Document&)>& visit);

/// Bytes of all files. UserError(bad_input) when one cannot be read.
uint64_t input_bytes(const TextInput& input);

}  // namespace trireme

// "response_format": texts that are JSON.
#pragma once

#include <memory>

#include "launch/serve/protocol/request/api_request.h"
#include "launch/serve/protocol/request/field_reader.h"
#include "runtime/text/grammar/byte_grammar.h"

namespace trireme::launch {

/// Null for text. ApiError (400) naming the place of what a schema has and grammars have not.
std::shared_ptr<const ByteGrammar> read_response_format(const FieldReader& fields, const ServedModel& model);

}  // namespace trireme::launch

// The fields of a request that say how tokens are drawn and where texts end.
#pragma once

#include "launch/serve/protocol/request/api_request.h"
#include "launch/serve/protocol/request/field_reader.h"

namespace trireme::launch {

/// Fills in generation, seed, max_tokens, stops and their like. ApiError (400).
void read_sampling_fields(const FieldReader& fields, const ServedModel& model, ApiRequest& request);

}  // namespace trireme::launch

// The steps of a tokenizer.json. Each reads the object that names one, or a Sequence of them; what is not
// known, and every inconsistency, is a UserError(bad_input) naming the type and `file`.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "runtime/data/tokenizer/steps/decoder.h"
#include "runtime/data/tokenizer/steps/normalizer.h"
#include "runtime/data/tokenizer/steps/splitter.h"

namespace trireme {

/// Whether a member is missing, null or an empty string.
bool is_absent(const nlohmann::json& object, const char* key);
/// The member "type".
const std::string& type_of(const nlohmann::json& object, const std::string& what, const std::string& file);

Normalizer read_normalizer(const nlohmann::json& object, const std::string& file);

struct SplitterSteps {
  Splitter splitter;             ///< null for none
  bool ends_with_bytes = false;  ///< the last one is ByteLevel: the model gets bytes
};
SplitterSteps read_splitter(const nlohmann::json& object, const std::string& file);

struct DecoderSteps {
  std::vector<DecodeStep> steps;
  bool is_byte_level = false;  ///< ByteLevel alone
  bool is_in_order = true;     ///< see TokenizerParts::decodes_in_order
};
DecoderSteps read_decoder(const nlohmann::json& object, const std::string& file);

struct WholeTextIds {
  std::vector<int32_t> before, after;
};
/// What the post-processor puts around one text (not around a pair). Ids lie below `vocab_size`.
WholeTextIds read_post_processor(const nlohmann::json& object, int64_t vocab_size, const std::string& file);

}  // namespace trireme

// The tokenizer inside a GGUF file (the keys tokenizer.*), read and written.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/data/tokenizer/tokenizer.h"
#include "runtime/io/gguf/gguf.h"
#include "runtime/io/gguf/gguf_value.h"

namespace trireme {

/// Models gpt2 (BPE over bytes, with the pre-tokenizer that tokenizer.ggml.pre names), llama (SentencePiece's
/// BPE), t5 (Unigram) and bert (WordPiece). Control and user-defined tokens are added tokens, the first kind
/// special; unused ones are free ids. bos, eos and what is to be added around a text give begin_ids() and
/// end_ids(); `end_of_text` is as load_tokenizer's, by itself tokenizer.ggml.eos_token_id. to_json() is a
/// tokenizer.json (gpt2, bert) or the SentencePiece model. UserError(bad_input) naming file, key and value
/// for what is missing, inconsistent, or unknown (with what is known).
std::unique_ptr<Tokenizer> read_gguf_tokenizer(const GgufReader& gguf, const std::string& end_of_text = "");

/// The keys tokenizer.* that llama.cpp needs, of a directory with tokenizer.json, tokenizer.model or another
/// tokenizer that load_tokenizer reads, and what tokenizer_config.json, generation_config.json and
/// chat_template.jinja beside it say: tokens, types, scores or merges, special ids, what is added around a
/// text, templates. Ids from the tokenizer's size to `vocab_size` become unused tokens [PADn].
/// UserError(usage) naming what llama.cpp has no equal of, and for a `vocab_size` below the tokenizer's.
GgufMetadata gguf_tokenizer_metadata(const std::string& tokenizer_directory, int64_t vocab_size);

}  // namespace trireme

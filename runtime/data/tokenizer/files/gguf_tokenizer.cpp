#include "runtime/data/tokenizer/files/gguf_tokenizer.h"

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/files/gguf_json.h"
#include "runtime/data/tokenizer/files/gguf_vocabulary.h"
#include "runtime/data/tokenizer/files/sentencepiece_file.h"
#include "runtime/data/tokenizer/files/sentencepiece_model.h"
#include "runtime/data/tokenizer/files/tokenizer_json.h"

namespace trireme {
namespace {

std::string charsmap_of(const GgufReader& gguf) {
  constexpr std::string_view kKey = "tokenizer.ggml.precompiled_charsmap";
  const GgufValue* value = gguf.find(kKey);
  if (value == nullptr) return "";
  if (const auto* bytes = std::get_if<std::vector<uint8_t>>(value)) return {bytes->begin(), bytes->end()};
  if (const auto* bytes = std::get_if<std::vector<int8_t>>(value)) return {bytes->begin(), bytes->end()};
  throw_bad_input("{}: \"{}\" is a {}, not a list of bytes", gguf.path(), kKey, type_text(*value));
}

std::unique_ptr<Tokenizer> read_pieces(GgufVocabulary& vocabulary, bool is_bpe,
                                       const std::string& end_of_text) {
  const GgufReader& gguf = vocabulary.gguf();
  if (gguf.find("tokenizer.ggml.scores") == nullptr)
    throw_bad_input("{} has no \"tokenizer.ggml.scores\" in its metadata", gguf.path());
  const GgufAround around = gguf_around(vocabulary, is_bpe, !is_bpe);
  SentencePieceExtras extras;
  extras.added = gguf_added_tokens(vocabulary);
  if (around.begin) extras.begin_ids = {*around.begin};
  if (around.end) extras.end_ids = {*around.end};

  SentencePieceModel model;
  model.type = is_bpe ? SentencePieceModel::Type::bpe : SentencePieceModel::Type::unigram;
  model.unknown_id = vocabulary.role("unknown").value_or(is_bpe ? 0 : 2);
  model.begin_id = vocabulary.role("bos").value_or(-1);
  model.end_id = around.last.value_or(-1);
  model.pad_id = vocabulary.role("padding").value_or(-1);
  model.rules.charsmap = charsmap_of(gguf);
  model.rules.add_dummy_prefix = vocabulary.flag("add_space_prefix", is_bpe);
  model.rules.remove_extra_whitespaces = vocabulary.flag("remove_extra_whitespaces", false);
  auto& tokens = vocabulary.tokens();
  const std::string name =
      end_of_text.empty() && around.last ? tokens[static_cast<size_t>(*around.last)].text : end_of_text;
  while (!tokens.empty() && is_padding(tokens.back())) tokens.pop_back();
  if (model.unknown_id < 0 || static_cast<size_t>(model.unknown_id) >= tokens.size())
    throw_bad_input("{}: the unknown token {} is none of {} tokens", gguf.path(), model.unknown_id,
                    tokens.size());
  size_t num_bytes = 0;
  for (size_t id = 0; id < tokens.size(); ++id) {
    PieceType type = tokens[id].type;
    if (static_cast<int32_t>(id) == model.unknown_id) {
      type = PieceType::unknown;
    } else if (type == PieceType::unknown) {
      type = PieceType::control;
    }
    if (type == PieceType::byte) ++num_bytes;
    model.pieces.push_back({tokens[id].text, tokens[id].score, type});
  }
  model.byte_fallback = num_bytes == 256;
  return read_sentencepiece(write_sentencepiece_model(model), gguf.path(), name, extras);
}

}  // namespace

std::unique_ptr<Tokenizer> read_gguf_tokenizer(const GgufReader& gguf, const std::string& end_of_text) {
  const std::string& kind = gguf.text("tokenizer.ggml.model");
  GgufVocabulary vocabulary(gguf);
  if (kind == "gpt2") return read_tokenizer_json(gguf_bpe_json(vocabulary), gguf.path(), end_of_text);
  if (kind == "bert") return read_tokenizer_json(gguf_wordpiece_json(vocabulary), gguf.path(), end_of_text);
  if (kind == "llama" || kind == "t5") return read_pieces(vocabulary, kind == "llama", end_of_text);
  throw_bad_input(
      "{}: \"tokenizer.ggml.model\" is \"{}\", which is not supported; gpt2, llama, t5 and bert are",
      gguf.path(), kind);
}

}  // namespace trireme

#include "runtime/data/tokenizer/pipeline_tokenizer.h"

#include <array>
#include <utility>

#include "runtime/base/error.h"

namespace trireme {
namespace {

// As base models use them, the more particular first: a chat model has marks of turns beside them.
constexpr std::string_view kEndOfTextNames[] = {
    "<|endoftext|>",          // GPT-2 and its kin, Qwen, Phi, Falcon, OLMo
    "<|end_of_text|>",        // Llama 3, Granite
    "<｜end▁of▁sentence｜>",  // DeepSeek
    "[EOS]",                  // Kimi
    "<EOT>",                  // Claude
    "<|end_of_document|>",
    "<|endofdocument|>",
    "<eos>",
    "</s>",
    "<|eos|>",
    "<|EOS|>",
    "<|EOT|>",
    "<EOD>",
    "[EOD]",
    "<|END_OF_TURN_TOKEN|>",  // Command R
};

std::string examples_of(const std::vector<std::pair<std::string, int32_t>>& marks) {
  constexpr size_t kMostNamed = 8;
  std::string text;
  for (size_t i = 0; i < marks.size() && i < kMostNamed; ++i) {
    text += fmt::format("{}\"{}\"", i == 0 ? ": " : ", ", marks[i].first);
  }
  return marks.size() > kMostNamed ? text + ", ..." : text;
}

// As it is found: in its normalized form where that flag says so.
std::string form_of(const TokenizerParts& parts, const AddedToken& token) {
  TextPiece piece{token.content, true};
  if (token.normalized && parts.normalizer && !parts.added_is_normal) parts.normalizer(piece);
  return std::move(piece.text);
}

/// By id, as they are decoded; takes those of `parts`.
TextList take_tokens(TokenizerParts& parts) {
  const bool are_spelled = parts.decodes_bytes && !parts.tokens_are_bytes;
  std::vector<std::string> tokens = std::exchange(parts.tokens, {});
  for (const auto& token : parts.added) {
    std::string& text = tokens[static_cast<size_t>(token.id)];
    // Hugging Face's decoders get a token in the form that is looked for.
    if (token.normalized) text = form_of(parts, token);
    if (parts.decodes_bytes && !are_spelled) text = bytes_of_token(text);
  }
  TextList list;
  size_t bytes = 0;
  for (const auto& token : tokens) bytes += token.size();
  list.reserve(tokens.size(), bytes);
  for (const auto& token : tokens) list.push_back(are_spelled ? bytes_of_token(token) : token);
  return list;
}

AddedTokenFinder finder_of(const TokenizerParts& parts, bool normalized) {
  std::vector<const AddedToken*> tokens;
  std::vector<std::string> contents;
  for (const bool special : {true, false}) {  // where two have one form a special one is meant
    for (const auto& token : parts.added) {
      if (token.normalized != normalized || token.special != special) continue;
      tokens.push_back(&token);
      contents.push_back(form_of(parts, token));
    }
  }
  return AddedTokenFinder(tokens, contents);
}

}  // namespace

std::optional<int32_t> find_end_of_text(const std::vector<std::pair<std::string, int32_t>>& marks,
                                        const std::string& name) {
  const auto find = [&](std::string_view wanted) -> std::optional<int32_t> {
    for (const auto& [content, id] : marks) {
      if (content == wanted) return id;
    }
    return std::nullopt;
  };
  if (!name.empty()) {
    if (const auto id = find(name)) return id;
    throw_usage("the end-of-text token \"{}\" is none of the tokenizer's {} added tokens{}", name,
                marks.size(), examples_of(marks));
  }
  for (const std::string_view known : kEndOfTextNames) {
    if (const auto id = find(known)) return id;
  }
  return std::nullopt;
}

PipelineTokenizer::PipelineTokenizer(TokenizerParts parts, std::string json)
    : parts_(std::move(parts)),
      tokens_(take_tokens(parts_)),
      json_(std::move(json)),
      is_special_(tokens_.size()),
      raw_(finder_of(parts_, false)),
      normal_(finder_of(parts_, true)) {
  TRIREME_CHECK(parts_.model);
  for (const auto& token : parts_.added) {
    if (token.special) is_special_.at(static_cast<size_t>(token.id)) = true;
  }
  for (const int32_t id : parts_.control) is_special_.at(static_cast<size_t>(id)) = true;
}

bool PipelineTokenizer::is_special(int32_t id) const {
  return id >= 0 && id < vocab_size() && is_special_[static_cast<size_t>(id)];
}

std::vector<int32_t> PipelineTokenizer::encode(std::string_view text, const TextOrigin& origin) const {
  check_utf8(text, origin);
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3);
  raw_.split(
      text,
      [&](size_t begin, size_t end) {
        encode_raw({origin.file, origin.offset + begin, text.substr(begin, end - begin)}, begin == 0, ids);
      },
      [&](int32_t id) { ids.push_back(id); });
  return ids;
}

// What lies between added tokens that are not normalized.
void PipelineTokenizer::encode_raw(const TextPlace& place, bool is_first, std::vector<int32_t>& ids) const {
  TextPiece piece{{}, is_first};
  std::string_view text = place.text;
  if (parts_.normalizer) {
    piece.text = text;
    parts_.normalizer(piece);
    text = piece.text;
  }
  normal_.split(
      text,
      [&](size_t begin, size_t end) {
        encode_normal({text.substr(begin, end - begin), piece.is_first && begin == 0}, place, ids);
      },
      [&](int32_t id) { ids.push_back(id); });
}

void PipelineTokenizer::encode_normal(WordView piece, const TextPlace& place,
                                      std::vector<int32_t>& ids) const {
  if (!parts_.splitter) return parts_.model->encode(piece.text, place, ids);
  parts_.splitter(piece, [&](WordView word) { parts_.model->encode(word.text, place, ids); });
}

void PipelineTokenizer::append_token(std::string& out, int32_t id) const { out += token(id); }

std::string PipelineTokenizer::decode_known(std::span<const int32_t> ids) const {
  if (parts_.decodes_bytes) return Tokenizer::decode_known(ids);
  std::vector<std::string> tokens;
  for (const int32_t id : ids) {
    if (const auto text = token(id); !text.empty()) tokens.emplace_back(text);
  }
  for (const auto& step : parts_.decode_steps) step(tokens);
  std::string text;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && !parts_.has_decoder) text += ' ';
    text += tokens[i];
  }
  return text;
}

std::optional<uint8_t> PipelineTokenizer::raw_byte(int32_t id) const {
  if (parts_.decodes_bytes) return std::nullopt;
  TRIREME_CHECK(id >= 0 && id < vocab_size());
  const auto byte = fallback_byte(token(id));
  return byte && decode_known(std::array{id}) != token(id) ? byte : std::nullopt;
}

bool PipelineTokenizer::settles_text(int32_t id) const {
  return parts_.decodes_in_order && !fallback_byte(token(id));
}

}  // namespace trireme

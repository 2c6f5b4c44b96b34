#include "runtime/data/tokenizer/files/gguf_vocabulary.h"

#include <algorithm>
#include <cmath>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/files/vocabulary_builder.h"
#include "runtime/data/tokenizer/steps/decoder.h"
#include "runtime/io/json/utf8.h"

namespace trireme {
namespace {

constexpr std::string_view kTokens = "tokenizer.ggml.tokens", kTypes = "tokenizer.ggml.token_type",
                           kScores = "tokenizer.ggml.scores";

// Numbers of one of these types, one for each token.
template <class... Types>
std::vector<double> numbers_of(const GgufReader& gguf, std::string_view key, size_t count) {
  const GgufValue* value = gguf.find(key);
  std::vector<double> numbers;
  const auto take = [&]<class T>(const std::vector<T>* list) {
    if (list != nullptr) numbers.assign(list->begin(), list->end());
    return list != nullptr;
  };
  if (!(take(std::get_if<std::vector<Types>>(value)) || ...))
    throw_bad_input("{}: \"{}\" is a {}, not a list of numbers", gguf.path(), key, type_text(*value));
  if (numbers.size() != count)
    throw_bad_input("{}: \"{}\" has {} entries for {} tokens", gguf.path(), key, numbers.size(), count);
  return numbers;
}

// Files without types have SentencePiece's or GPT-2's tokens alone.
PieceType type_by_text(const std::string& text) {
  return fallback_byte(text) ? PieceType::byte : PieceType::normal;
}

}  // namespace

GgufVocabulary::GgufVocabulary(const GgufReader& gguf) : gguf_(gguf) {
  const GgufValue* list = gguf.find(kTokens);
  if (list == nullptr) throw_bad_input("{} has no \"{}\" in its metadata", file(), kTokens);
  const auto* texts = std::get_if<std::vector<std::string>>(list);
  if (texts == nullptr)
    throw_bad_input("{}: \"{}\" is a {}, not a list of strings", file(), kTokens, type_text(*list));
  if (texts->empty() || texts->size() > static_cast<size_t>(VocabularyBuilder::kMostTokens))
    throw_bad_input("{}: \"{}\" has {} entries; 1 to {} can be", file(), kTokens, texts->size(),
                    VocabularyBuilder::kMostTokens);
  for (const auto& text : *texts) {
    if (find_utf8_error(text)) throw_bad_input("{}: the token {} is not UTF-8", file(), tokens_.size());
    tokens_.push_back({text, 0, type_by_text(text)});
  }
  if (gguf.find(kTypes) != nullptr) {
    const auto types = numbers_of<int32_t, uint32_t, int8_t, uint8_t>(gguf, kTypes, tokens_.size());
    for (size_t id = 0; id < types.size(); ++id) {
      if (types[id] < 0 || types[id] > 6)
        throw_bad_input("{}: \"{}\" of token {} is {}; 0 to 6 can be", file(), kTypes, id, types[id]);
      tokens_[id].type = types[id] == 0 ? PieceType::normal : static_cast<PieceType>(types[id]);
    }
  }
  if (gguf.find(kScores) != nullptr) {
    const auto scores = numbers_of<float, int32_t, double>(gguf, kScores, tokens_.size());
    for (size_t id = 0; id < scores.size(); ++id) {
      if (!std::isfinite(scores[id])) throw_bad_input("{}: the score of token {} is not finite", file(), id);
      tokens_[id].score = static_cast<float>(scores[id]);
    }
  }
}

std::optional<int32_t> GgufVocabulary::role(std::string_view role) const {
  const std::string key = fmt::format("tokenizer.ggml.{}_token_id", role);
  if (gguf_.find(key) == nullptr) return std::nullopt;
  const int64_t id = gguf_.integer(key);
  if (id == -1 || id == UINT32_MAX) return std::nullopt;
  if (id < 0 || static_cast<size_t>(id) >= tokens_.size())
    throw_bad_input("{}: \"{}\" is {}, but there are {} tokens", file(), key, id, tokens_.size());
  return static_cast<int32_t>(id);
}

bool GgufVocabulary::flag(std::string_view name, bool fallback) const {
  const std::string key = fmt::format("tokenizer.ggml.{}", name);
  const GgufValue* value = gguf_.find(key);
  if (value == nullptr) return fallback;
  const bool* flag = std::get_if<bool>(value);
  if (flag == nullptr) throw_bad_input("{}: \"{}\" is a {}, not a flag", file(), key, type_text(*value));
  return *flag;
}

bool is_padding(const GgufToken& token) {
  const std::string_view text = token.text;
  if (token.type != PieceType::unused) return false;
  const bool has_form = text.starts_with("[PAD") && text.ends_with(']') && text.size() > 5;
  return text.empty() || (has_form && std::ranges::all_of(text.substr(4, text.size() - 5),
                                                          [](char c) { return c >= '0' && c <= '9'; }));
}

std::string padding_token(int64_t id) { return fmt::format("[PAD{}]", id); }

}  // namespace trireme

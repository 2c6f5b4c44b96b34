#include "runtime/data/tokenizer/char_tokenizer.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/io/json/json_file.h"

namespace trireme {

CharTokenizer::CharTokenizer(std::vector<char32_t> alphabet) : alphabet_(std::move(alphabet)) {
  for (size_t i = 0; i < alphabet_.size(); ++i) ids_.emplace(alphabet_[i], static_cast<int32_t>(i));
  TRIREME_CHECK(ids_.size() == alphabet_.size(), "{} characters, {} distinct", alphabet_.size(), ids_.size());
}

std::unique_ptr<Tokenizer> CharTokenizer::from_json(const nlohmann::json& json, const std::string& name) {
  json_index(json_member(json, "version", name), 2, "\"version\"", name);
  const std::string& characters = json_string(json_member(json, "characters", name), "\"characters\"", name);
  std::vector<char32_t> alphabet;
  std::set<char32_t> seen;
  for (size_t i = 0; i < characters.size();) {
    alphabet.push_back(next_code_point(characters, i));
    if (!seen.insert(alphabet.back()).second) {
      throw_bad_input("{}: U+{:04X} stands twice in \"characters\"", name,
                      static_cast<uint32_t>(alphabet.back()));
    }
  }
  if (alphabet.empty()) throw_bad_input("{}: \"characters\" is empty", name);
  return std::make_unique<CharTokenizer>(std::move(alphabet));
}

std::vector<int32_t> CharTokenizer::encode(std::string_view text, const TextOrigin& origin) const {
  check_utf8(text, origin);
  std::vector<int32_t> ids;
  ids.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t c = next_code_point(text, i);
    const auto it = ids_.find(c);
    if (it == ids_.end()) {
      throw_bad_input(
          "{}: the character '{}' (U+{:04X}) at byte {} is not among the {} of the tokenizer; train the "
          "tokenizer on this text, or use byte or bpe",
          origin.file, text.substr(begin, i - begin), static_cast<uint32_t>(c), origin.offset + begin,
          vocab_size());
    }
    ids.push_back(it->second);
  }
  return ids;
}

void CharTokenizer::append_token(std::string& out, int32_t id) const {
  append_utf8(out, alphabet_[static_cast<size_t>(id)]);
}

size_t CharTokenizer::find_cut(std::string_view text, size_t limit) const {
  if (limit >= text.size()) return text.size();
  size_t cut = limit;
  while (cut > 0 && is_utf8_continuation(text[cut])) --cut;
  return cut > 0 ? cut : limit;
}

std::string CharTokenizer::to_json() const {
  std::string characters;
  for (const char32_t c : alphabet_) append_utf8(characters, c);
  return nlohmann::json{{"type", "trireme-char"}, {"version", 1}, {"characters", characters}}.dump() + "\n";
}

void CharTrainer::add(std::string_view text, const TextOrigin& origin) {
  check_utf8(text, origin);
  for (size_t i = 0; i < text.size();) seen_.insert(next_code_point(text, i));
}

std::unique_ptr<Tokenizer> CharTrainer::train() const {
  if (seen_.empty()) throw_bad_input("a character tokenizer needs a text that is not empty");
  return std::make_unique<CharTokenizer>(std::vector<char32_t>(seen_.begin(), seen_.end()));
}

std::unique_ptr<Tokenizer> train_char(std::string_view text) {
  CharTrainer trainer;
  trainer.add(text, {});
  return trainer.train();
}

}  // namespace trireme

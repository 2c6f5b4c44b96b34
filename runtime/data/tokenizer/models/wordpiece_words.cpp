#include "runtime/data/tokenizer/models/wordpiece_words.h"

#include <algorithm>

#include "runtime/io/json/utf8.h"

namespace trireme {

WordPieceWords::WordPieceWords(Vocabulary vocabulary, WordPieceOptions options)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)) {
  for (const auto& [token, id] : vocabulary_) longest_ = std::max(longest_, token.size());
}

void WordPieceWords::encode(std::string_view word, const TextPlace&, std::vector<int32_t>& ids) const {
  if (cache_.append(word, ids)) return;
  const auto word_ids = ids_of(word);
  cache_.insert(word, word_ids);
  ids.insert(ids.end(), word_ids.begin(), word_ids.end());
}

std::vector<int32_t> WordPieceWords::ids_of(std::string_view word) const {
  const auto characters =
      static_cast<size_t>(std::ranges::count_if(word, [](char c) { return !is_utf8_continuation(c); }));
  if (characters > options_.most_characters) return {options_.unknown};
  std::vector<int32_t> ids;
  std::string piece;
  for (size_t begin = 0; begin < word.size();) {
    piece.assign(begin == 0 ? "" : options_.continuing_prefix);
    const size_t prefix = piece.size();
    piece.append(word.substr(begin, longest_));
    while (piece.size() > prefix) {
      const auto it = vocabulary_.find(piece);
      if (it != vocabulary_.end()) {
        ids.push_back(it->second);
        break;
      }
      piece.pop_back();  // half a character is no token
    }
    if (piece.size() == prefix) return {options_.unknown};
    begin += piece.size() - prefix;
  }
  return ids;
}

}  // namespace trireme

#include "runtime/data/tokenizer/tokenizer.h"

#include <algorithm>
#include <utility>

#include "runtime/base/error.h"
#include "runtime/base/philox.h"
#include "runtime/io/files/atomic_file.h"

namespace trireme {

std::string Tokenizer::decode(std::span<const int32_t> ids, SpecialTokens specials) const {
  std::vector<int32_t> kept;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocab_size()) {
      throw_bad_input("cannot decode id {} at position {}: the {} tokenizer has ids 0 to {}", ids[i], i,
                      kind(), vocab_size() - 1);
    }
    if (specials == SpecialTokens::skip && !is_special(ids[i])) kept.push_back(ids[i]);
  }
  return decode_known(specials == SpecialTokens::skip ? kept : ids);
}

std::string Tokenizer::decode_known(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) append_token(text, id);
  return text;
}

std::vector<int32_t> Tokenizer::encode_whole(std::string_view text, const TextOrigin& origin) const {
  std::vector<int32_t> ids(begin_ids().begin(), begin_ids().end());
  const auto inner = encode(text, origin);
  ids.insert(ids.end(), inner.begin(), inner.end());
  ids.insert(ids.end(), end_ids().begin(), end_ids().end());
  return ids;
}

std::string TextStream::push(int32_t id) {
  if (tokenizer_.joins_bytes()) {
    bytes_ += tokenizer_.decode({&id, 1}, specials_);
    return take_whole_characters();
  }
  if (specials_ == SpecialTokens::skip && tokenizer_.is_special(id)) {
    tokenizer_.decode({&id, 1});  // refuses ids of no vocabulary
    return "";
  }
  ids_.push_back(id);
  return tokenizer_.settles_text(id) ? settled() : "";
}

std::string TextStream::finish() {
  if (tokenizer_.joins_bytes()) return std::exchange(bytes_, "");
  std::string text = tokenizer_.decode(ids_).substr(given_);
  ids_.clear();
  given_ = 0;
  return text;
}

// All but the beginning of a character at the end; bytes that begin none are not kept back.
std::string TextStream::take_whole_characters() {
  size_t whole = bytes_.size();
  for (size_t back = 1; back <= std::min<size_t>(3, bytes_.size()); ++back) {
    const char c = bytes_[bytes_.size() - back];
    if (is_utf8_continuation(c)) continue;
    const auto lead = static_cast<uint8_t>(c);
    const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 1;
    if (lead < 0xF5 && length > back) whole = bytes_.size() - back;
    break;
  }
  std::string text = bytes_.substr(0, whole);
  bytes_.erase(0, whole);
  return text;
}

// A token that is text by itself is enough to decode the next ones beside it: no decoder looks back further
// than to whether there was any.
std::string TextStream::settled() {
  const std::string text = tokenizer_.decode(ids_);
  std::string news = text.substr(std::min(given_, text.size()));
  given_ = text.size();
  const std::string alone = tokenizer_.decode({&ids_.back(), 1});
  if (!alone.empty()) {
    ids_ = {ids_.back()};
    given_ = alone.size();
  }
  return news;
}

void Tokenizer::save(const std::string& path) const { write_file_atomically(path, to_json()); }

uint64_t Tokenizer::fingerprint() const { return hash_name(to_json()); }

}  // namespace trireme

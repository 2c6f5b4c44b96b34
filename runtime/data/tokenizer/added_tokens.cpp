#include "runtime/data/tokenizer/added_tokens.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/unicode/unicode.h"
#include "runtime/io/json/utf8.h"

namespace trireme {
namespace {

// The character that ends before `end`.
char32_t character_before(std::string_view text, size_t end, size_t& begin) {
  begin = end - 1;
  while (begin > 0 && is_utf8_continuation(text[begin])) --begin;
  size_t at = begin;
  return next_code_point(text, at);
}

bool is_word_before(std::string_view text, size_t end) {
  size_t begin = 0;
  return end > 0 && unicode::is_word(character_before(text, end, begin));
}
bool is_word_at(std::string_view text, size_t begin) {
  return begin < text.size() && unicode::is_word(next_code_point(text, begin));
}

size_t blanks_before(std::string_view text, size_t end) {
  while (end > 0) {
    size_t begin = 0;
    if (!unicode::is_space(character_before(text, end, begin))) break;
    end = begin;
  }
  return end;
}
size_t blanks_after(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    size_t next = begin;
    if (!unicode::is_space(next_code_point(text, next))) break;
    begin = next;
  }
  return begin;
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(const std::vector<const AddedToken*>& tokens,
                                   const std::vector<std::string>& contents) {
  TRIREME_CHECK(tokens.size() == contents.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!contents[i].empty()) entries_.push_back({contents[i], tokens[i]});
  }
  const auto first = [](const Entry& e) { return static_cast<uint8_t>(e.content[0]); };
  std::ranges::stable_sort(entries_, [&](const Entry& a, const Entry& b) {
    return first(a) != first(b) ? first(a) < first(b) : a.content.size() > b.content.size();
  });
  for (size_t i = 0; i < entries_.size(); ++i) {
    auto& [begin, end] = range_[first(entries_[i])];
    if (end == 0) begin = static_cast<uint32_t>(i);
    end = static_cast<uint32_t>(i + 1);
  }
}

const AddedTokenFinder::Entry* AddedTokenFinder::at(std::string_view text) const {
  const auto [begin, end] = range_[static_cast<uint8_t>(text[0])];
  for (uint32_t i = begin; i < end; ++i) {
    if (text.starts_with(entries_[i].content)) return &entries_[i];
  }
  return nullptr;
}

void AddedTokenFinder::split(std::string_view text, const std::function<void(size_t, size_t)>& rest,
                             const std::function<void(int32_t)>& found) const {
  size_t done = 0;
  for (size_t i = entries_.empty() ? text.size() : 0; i < text.size();) {
    const Entry* entry = at(text.substr(i));
    if (!entry) {
      ++i;
      continue;
    }
    size_t begin = i, end = i + entry->content.size();
    i = end;  // also where the token is no word of its own: another is not looked for inside it
    const AddedToken& token = *entry->token;
    if (token.single_word && (is_word_before(text, begin) || is_word_at(text, end))) continue;
    if (token.lstrip) begin = std::max(blanks_before(text, begin), done);
    if (token.rstrip) end = blanks_after(text, end);
    if (begin > done) rest(done, begin);
    found(token.id);
    done = end;
  }
  if (done < text.size()) rest(done, text.size());
}

}  // namespace trireme

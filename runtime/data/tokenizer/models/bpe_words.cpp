#include "runtime/data/tokenizer/models/bpe_words.h"

#include <algorithm>
#include <queue>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/steps/decoder.h"
#include "runtime/io/json/utf8.h"

namespace trireme {

BpeWords::BpeWords(Vocabulary vocabulary, PairTable merges, const BpeOptions& options)
    : vocabulary_(std::move(vocabulary)), merges_(std::move(merges)), options_(options) {
  for (size_t byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] = find(std::string(1, static_cast<char>(byte))).value_or(-1);
    fallback_ids_[byte] = find(fallback_token(static_cast<uint8_t>(byte))).value_or(-1);
  }
  for (const auto& [token, id] : vocabulary_) {
    if (id < options_.first_virtual_id) continue;
    const auto index = static_cast<size_t>(id - options_.first_virtual_id);
    if (index >= virtual_characters_.size()) virtual_characters_.resize(index + 1);
    virtual_characters_[index] = token;
  }
}

void BpeWords::encode(std::string_view word, const TextPlace& place, std::vector<int32_t>& ids) const {
  if (cache_.append(word, ids)) return;
  const auto word_ids = ids_of(word, place);
  cache_.insert(word, word_ids);
  ids.insert(ids.end(), word_ids.begin(), word_ids.end());
}

std::vector<int32_t> BpeWords::ids_of(std::string_view word, const TextPlace& place) const {
  if (options_.ignore_merges) {
    if (const auto whole = find(word)) return {*whole};
  }
  auto ids = merged(symbols_of(word, place));
  if (!virtual_characters_.empty()) replace_virtual(place, ids);
  return ids;
}

std::optional<int32_t> BpeWords::find(std::string_view token) const {
  const auto it = vocabulary_.find(token);
  return it == vocabulary_.end() ? std::nullopt : std::optional(it->second);
}

std::vector<int32_t> BpeWords::symbols_of(std::string_view word, const TextPlace& place) const {
  std::vector<int32_t> ids;
  ids.reserve(word.size());
  if (options_.over_bytes) {
    for (const char c : word) {
      const auto byte = static_cast<uint8_t>(c);
      if (byte_ids_[byte] < 0) place.refuse({&c, 1}, "BPE");
      ids.push_back(byte_ids_[byte]);
    }
    return ids;
  }
  std::string symbol;
  bool follows_unknown = false;
  for (size_t i = 0; i < word.size();) {
    const size_t begin = i;
    next_code_point(word, i);
    const std::string_view character = word.substr(begin, i - begin);
    std::optional<int32_t> id;
    if (options_.continuing_prefix.empty() && options_.word_suffix.empty()) {
      id = find(character);
    } else {
      symbol.assign(begin == 0 ? "" : options_.continuing_prefix).append(character);
      if (i == word.size()) symbol += options_.word_suffix;
      id = find(symbol);
    }
    if (id) {
      ids.push_back(*id);
      follows_unknown = false;
    } else {
      add_unknown(symbol.empty() ? character : symbol, place, follows_unknown, ids);
    }
  }
  return ids;
}

void BpeWords::add_unknown(std::string_view character, const TextPlace& place, bool& follows_unknown,
                           std::vector<int32_t>& ids) const {
  const auto has_token = [this](char c) { return fallback_ids_[static_cast<uint8_t>(c)] >= 0; };
  if (options_.byte_fallback && std::ranges::all_of(character, has_token)) {
    for (const char c : character) ids.push_back(fallback_ids_[static_cast<uint8_t>(c)]);
    follows_unknown = false;
    return;
  }
  if (!options_.unknown) place.refuse(character, "BPE");
  if (!follows_unknown || !options_.fuse_unknown) ids.push_back(*options_.unknown);
  follows_unknown = true;
}

// A heap of possible merges over a list in place gives the lowest rank, then the leftmost, in O(n log n) also
// for a word of a million letters.
std::vector<int32_t> BpeWords::merged(std::vector<int32_t> ids) const {
  struct Candidate {
    int32_t rank, merged, left;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  if (ids.size() < 2) return ids;
  if (ids.size() > INT32_MAX) throw_bad_input("a word of {} symbols is too long", ids.size());
  const auto n = static_cast<int32_t>(ids.size());
  std::vector<Symbol> symbols(ids.size());
  const auto at = [&](int32_t i) -> Symbol& { return symbols[static_cast<size_t>(i)]; };
  for (int32_t i = 0; i < n; ++i) at(i) = {ids[static_cast<size_t>(i)], i - 1, i + 1};

  std::vector<Candidate> heap;
  heap.reserve(ids.size());
  const auto candidate = [&](int32_t left) -> const RankedMerge* {
    if (left < 0 || at(left).next >= n) return nullptr;
    return merges_.find(at(left).id, at(at(left).next).id);
  };
  for (int32_t i = 0; i + 1 < n; ++i) {
    if (const auto* merge = candidate(i)) heap.push_back({merge->rank, merge->merged, i});
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue({}, std::move(heap));
  const auto offer = [&](int32_t left) {
    if (const auto* merge = candidate(left)) queue.push({merge->rank, merge->merged, left});
  };
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = at(best.left);
    if (left.id < 0 || left.next >= n) continue;
    Symbol& right = at(left.next);
    const auto* merge = merges_.find(left.id, right.id);
    if (!merge || merge->rank != best.rank || merge->merged != best.merged) continue;  // changed since
    left.id = best.merged;
    left.next = right.next;
    right.id = -1;
    if (left.next < n) at(left.next).previous = best.left;
    offer(left.previous);
    offer(best.left);
  }
  size_t count = 0;
  for (int32_t i = 0; i < n; i = at(i).next) ids[count++] = at(i).id;
  ids.resize(count);
  return ids;
}

void BpeWords::replace_virtual(const TextPlace& place, std::vector<int32_t>& ids) const {
  std::vector<int32_t> out;
  bool follows_unknown = false;
  for (const int32_t id : ids) {
    if (id >= options_.first_virtual_id) {
      add_unknown(virtual_characters_[static_cast<size_t>(id - options_.first_virtual_id)], place,
                  follows_unknown, out);
      continue;
    }
    const bool is_unknown = options_.unknown == id;
    if (is_unknown && follows_unknown && options_.fuse_unknown) continue;
    out.push_back(id);
    follows_unknown = is_unknown;
  }
  ids = std::move(out);
}

}  // namespace trireme

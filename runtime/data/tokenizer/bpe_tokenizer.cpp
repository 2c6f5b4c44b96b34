#include "runtime/data/tokenizer/bpe_tokenizer.h"

#include <algorithm>
#include <queue>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/huggingface_json.h"
#include "runtime/data/tokenizer/word_cache.h"

namespace trireme {
namespace {

constexpr uint64_t pair_key(int32_t left, int32_t right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

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

std::string examples_of(const std::vector<AddedToken>& added) {
  constexpr size_t kMostNamed = 8;
  std::string text;
  for (size_t i = 0; i < added.size() && i < kMostNamed; ++i) {
    text += fmt::format("{}\"{}\"", i == 0 ? ": " : ", ", added[i].content);
  }
  return added.size() > kMostNamed ? text + ", ..." : text;
}

std::optional<int32_t> find_end_of_text(const BpeModel& model) {
  const std::vector<AddedToken>& added = model.added;
  if (!model.end_of_text.empty()) {
    for (const auto& token : added) {
      if (token.content == model.end_of_text) return token.id;
    }
    throw_usage("the end-of-text token \"{}\" is none of the tokenizer's {} added tokens{}",
                model.end_of_text, added.size(), examples_of(added));
  }
  for (const std::string_view name : kEndOfTextNames) {
    for (const auto& token : added) {
      if (token.content == name) return token.id;
    }
  }
  return std::nullopt;
}

}  // namespace

BpeTokenizer::BpeTokenizer(BpeModel model)
    : model_(std::move(model)),
      pretokenizer_(model_.patterns, model_.drop_gaps),
      end_of_text_(find_end_of_text(model_)),
      cache_(std::make_unique<WordCache>()) {
  std::vector<bool> is_added(model_.tokens.size());
  for (const auto& token : model_.added) {
    is_added[static_cast<size_t>(token.id)] = true;
    added_by_byte_[token.normalized][static_cast<uint8_t>(token.content[0])].push_back(&token);
  }
  for (auto& by_byte : added_by_byte_) {
    for (auto& candidates : by_byte) {
      std::ranges::stable_sort(candidates,
                               [](auto* a, auto* b) { return a->content.size() > b->content.size(); });
    }
  }
  byte_ids_.fill(-1);
  for (size_t id = 0; id < model_.tokens.size(); ++id) {
    if (is_added[id] || model_.tokens[id].empty()) continue;
    const std::string& bytes = model_.tokens[id];
    if (bytes.size() == 1) byte_ids_[static_cast<uint8_t>(bytes[0])] = static_cast<int32_t>(id);
    if (model_.ignore_merges) whole_words_.emplace(bytes, static_cast<int32_t>(id));
  }
  merges_.reserve(model_.merges.size());
  for (size_t rank = 0; rank < model_.merges.size(); ++rank) {
    const auto& [left, right, merged] = model_.merges[rank];
    merges_.emplace(pair_key(left, right), Merge{static_cast<int32_t>(rank), merged});
  }
}

BpeTokenizer::~BpeTokenizer() = default;

std::vector<int32_t> BpeTokenizer::encode(std::string_view text, const TextOrigin& origin) const {
  check_utf8(text, origin);
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3);
  encode_marked(text, false, {origin.file, origin.offset}, ids);
  return ids;
}

void BpeTokenizer::encode_marked(std::string_view text, bool normalized, const Place& place,
                                 std::vector<int32_t>& ids) const {
  size_t plain = 0;
  const auto flush = [&](size_t end) {
    if (end <= plain) return;
    const std::string_view part = text.substr(plain, end - plain);
    const Place part_place{place.file, place.offset + plain};
    normalized ? encode_plain(part, part_place, ids) : encode_marked(part, true, part_place, ids);
  };
  for (size_t i = 0; i < text.size();) {
    const AddedToken* token = added_at(text.substr(i), normalized);
    if (!token) {
      ++i;
      continue;
    }
    flush(i);
    ids.push_back(token->id);
    i += token->content.size();
    plain = i;
  }
  flush(text.size());
}

const AddedToken* BpeTokenizer::added_at(std::string_view text, bool normalized) const {
  for (const AddedToken* token : added_by_byte_[normalized][static_cast<uint8_t>(text[0])]) {
    if (text.starts_with(token->content)) return token;
  }
  return nullptr;
}

void BpeTokenizer::encode_plain(std::string_view text, const Place& place, std::vector<int32_t>& ids) const {
  std::string prefixed;
  std::string_view whole = text;
  if (model_.add_prefix_space && text[0] != ' ') whole = prefixed = fmt::format(" {}", text);
  const uint64_t shift = whole.size() - text.size();
  pretokenizer_.split(whole, [&](std::string_view word) {
    if (cache_->append(word, ids)) return;
    const auto offset = static_cast<uint64_t>(word.data() - whole.data());
    // The first word's own bytes begin after the space put before it.
    encode_word(word, {place.file, place.offset + offset - shift}, ids);
  });
}

void BpeTokenizer::encode_word(std::string_view word, const Place& place, std::vector<int32_t>& ids) const {
  const auto whole = whole_words_.find(word);
  const auto word_ids =
      whole != whole_words_.end() ? std::vector<int32_t>{whole->second} : merge_word(word, place);
  cache_->insert(word, word_ids);
  ids.insert(ids.end(), word_ids.begin(), word_ids.end());
}

const BpeTokenizer::Merge* BpeTokenizer::find_merge(int32_t left, int32_t right) const {
  const auto it = merges_.find(pair_key(left, right));
  return it == merges_.end() ? nullptr : &it->second;
}

// The symbols form a list in place; a heap of possible merges gives the lowest rank, then the leftmost, in
// O(n log n) also for a word of a million letters.
std::vector<int32_t> BpeTokenizer::merge_word(std::string_view word, const Place& place) const {
  struct Symbol {
    int32_t id;  // -1: merged into the symbol on its left
    int64_t previous, next;
  };
  struct Candidate {
    int32_t rank, merged;
    int64_t left;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  const auto n = static_cast<int64_t>(word.size());
  std::vector<Symbol> symbols(word.size());
  const auto at = [&](int64_t i) -> Symbol& { return symbols[static_cast<size_t>(i)]; };
  for (int64_t i = 0; i < n; ++i) {
    const auto byte = static_cast<uint8_t>(word[static_cast<size_t>(i)]);
    at(i) = {byte_ids_[byte], i - 1, i + 1};
    if (byte_ids_[byte] < 0) {
      throw_bad_input("{}: the byte 0x{:02X} at offset {} has no token in this BPE vocabulary", place.file,
                      byte, place.offset + static_cast<uint64_t>(i));
    }
  }

  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto offer = [&](int64_t left) {
    if (left < 0 || at(left).next >= n) return;
    if (const Merge* merge = find_merge(at(left).id, at(at(left).next).id)) {
      queue.push({merge->rank, merge->merged, left});
    }
  };
  for (int64_t i = 0; i + 1 < n; ++i) offer(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = at(best.left);
    if (left.id < 0 || left.next >= n) continue;
    Symbol& right = at(left.next);
    const Merge* merge = find_merge(left.id, right.id);
    if (!merge || merge->rank != best.rank) continue;  // one of the two has changed since
    left.id = best.merged;
    left.next = right.next;
    right.id = -1;
    if (left.next < n) at(left.next).previous = best.left;
    offer(left.previous);
    offer(best.left);
  }

  std::vector<int32_t> ids;
  for (int64_t i = 0; i < n; i = at(i).next) ids.push_back(at(i).id);
  return ids;
}

size_t BpeTokenizer::find_cut(std::string_view text, size_t limit) const {
  const auto holds_line_break = [](const AddedToken& t) { return t.content.find('\n') != std::string::npos; };
  if (model_.add_prefix_space || std::any_of(model_.added.begin(), model_.added.end(), holds_line_break)) {
    return text.size();
  }
  return pretokenizer_.find_cut(text, limit);
}

std::string BpeTokenizer::to_json() const { return write_huggingface_json(model_); }

}  // namespace trireme

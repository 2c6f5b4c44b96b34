#include "runtime/data/tokenizer/files/vocabulary_builder.h"

#include <algorithm>

#include "runtime/base/error.h"

namespace trireme {

void VocabularyBuilder::add(std::string_view token, int64_t id) {
  if (id < 0 || id >= kMostTokens)
    throw_bad_input("{}: the id {} of \"{}\" is not one of 0 to {}", file_, id, token, kMostTokens - 1);
  const auto [it, is_new] = ids_.emplace(token, static_cast<int32_t>(id));
  if (!is_new)
    throw_bad_input("{}: the token \"{}\" stands twice, with the ids {} and {}", file_, token, it->second,
                    id);
}

void VocabularyBuilder::add_added(const AddedToken& token) {
  if (token.content.empty()) throw_bad_input("{}: the added token with id {} is empty", file_, token.id);
  if (token.id < 0 || token.id >= kMostTokens)
    throw_bad_input("{}: the id {} of \"{}\" is not one of 0 to {}", file_, token.id, token.content,
                    kMostTokens - 1);
  const auto it = ids_.find(token.content);
  if (it != ids_.end() && it->second != token.id) {
    throw_bad_input("{}: the added token \"{}\" has id {}, but the vocabulary gives it {}", file_,
                    token.content, token.id, it->second);
  }
  for (const auto& other : added_) {
    if (other.content == token.content)
      throw_bad_input("{}: the added token \"{}\" stands twice", file_, token.content);
  }
  added_.push_back(token);
}

int32_t VocabularyBuilder::id_of(std::string_view token, const std::string& where) const {
  const auto it = ids_.find(token);
  if (it == ids_.end())
    throw_bad_input("{}: {} needs \"{}\", which is not in the vocabulary", file_, where, token);
  return it->second;
}

std::vector<std::string> VocabularyBuilder::tokens() const {
  constexpr size_t kMostFree = 4096;
  size_t end = 0;
  for (const auto& [token, id] : ids_) end = std::max(end, static_cast<size_t>(id) + 1);
  for (const auto& token : added_) end = std::max(end, static_cast<size_t>(token.id) + 1);
  const size_t count = ids_.size() + added_.size();
  if (count == 0) throw_bad_input("{}: the vocabulary is empty", file_);
  if (end > count + kMostFree)
    throw_bad_input("{}: {} tokens have ids up to {}: ids are missing or stand twice", file_, count, end - 1);
  std::vector<std::string> tokens(end);
  const auto put = [&](std::string_view token, int32_t id) {
    std::string& slot = tokens[static_cast<size_t>(id)];
    if (!slot.empty() && slot != token)
      throw_bad_input("{}: \"{}\" and \"{}\" both have id {}", file_, slot, token, id);
    slot = token;
  };
  for (const auto& [token, id] : ids_) put(token, id);
  for (const auto& token : added_) put(token.content, token.id);
  return tokens;
}

PairTable merges_of_ranks(const Vocabulary& parts,
                          const std::vector<std::pair<std::string_view, RankedMerge>>& tokens) {
  PairTable merges(3 * tokens.size());
  for (const auto& [token, merge] : tokens) {
    for (size_t cut = 1; cut < token.size(); ++cut) {
      const auto left = parts.find(token.substr(0, cut));
      if (left == parts.end()) continue;
      const auto right = parts.find(token.substr(cut));
      if (right != parts.end()) merges.insert(left->second, right->second, merge);
    }
  }
  return merges;
}

}  // namespace trireme

#include "runtime/data/tokenizer/bpe_model_builder.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/byte_alphabet.h"
#include "runtime/io/json/json_file.h"

namespace trireme {
namespace {

// Ids beyond any real vocabulary mean a broken file; without a limit one id would allocate gigabytes.
constexpr int64_t kMostTokens = int64_t{1} << 24;

}  // namespace

void BpeModelBuilder::add(std::string_view token, int32_t id) {
  const auto [it, is_new] = ids_.emplace(token, id);
  if (!is_new)
    throw_bad_input("{}: the token \"{}\" stands twice, with the ids {} and {}", file_, token, it->second,
                    id);
}

void BpeModelBuilder::set_vocab(const nlohmann::json& vocab, const TokenLists& lists) {
  if (!vocab.is_object())
    throw_bad_input("{}: the vocabulary must be an object, found {}", file_, vocab.type_name());
  for (const auto& [token, id] : vocab.items()) {
    const auto value = json_index(id, kMostTokens, fmt::format("the id of \"{}\"", token), file_);
    add(token, static_cast<int32_t>(value));
  }
  for (size_t i = 0; i < lists.tokens.size(); ++i) add(lists.tokens[i], lists.ids[i]);
}

void BpeModelBuilder::add_token(AddedToken token) {
  if (token.content.empty()) throw_bad_input("{}: the added token with id {} is empty", file_, token.id);
  const auto [it, is_new] = ids_.emplace(token.content, token.id);
  if (it->second != token.id) {
    throw_bad_input("{}: the added token \"{}\" has id {}, but the vocabulary gives it {}", file_,
                    token.content, token.id, it->second);
  }
  model.added.push_back(std::move(token));
}

// Published vocabularies leave ids free between added tokens, not among those that merges make.
size_t BpeModelBuilder::check_gaps() const {
  constexpr size_t kMostFree = 4096;
  const size_t count = ids_.size(), most = count + kMostFree;
  size_t end = count;
  for (const auto& [token, id] : ids_) {
    const auto index = static_cast<size_t>(id);
    if (index < count) continue;
    const bool is_added = std::ranges::any_of(model.added, [id = id](const auto& t) { return t.id == id; });
    if (index >= most || !is_added) {
      throw_bad_input("{}: {} tokens need ids 0 to {}, but \"{}\" has id {}: ids are missing or stand twice",
                      file_, count, count - 1, token, id);
    }
    end = std::max(end, index + 1);
  }
  return end;
}

void BpeModelBuilder::finish_tokens() {
  constexpr uint32_t kNone = UINT32_MAX;
  std::vector<uint32_t> by_id(check_gaps(), kNone);  // places in ids_
  const auto text_of = [&](uint32_t place) { return (*Vocabulary::Iterator(ids_, place)).first; };
  uint32_t place = 0;
  for (const auto& [token, id] : ids_) {
    const auto index = static_cast<size_t>(id);
    if (by_id[index] != kNone)
      throw_bad_input("{}: \"{}\" and \"{}\" both have id {}", file_, text_of(by_id[index]), token, id);
    by_id[index] = place++;
  }
  if (by_id.empty()) throw_bad_input("{}: the vocabulary is empty", file_);

  std::sort(model.added.begin(), model.added.end(), [](auto& a, auto& b) { return a.id < b.id; });
  model.tokens.resize(by_id.size());
  for (const auto& token : model.added) {
    std::string& slot = model.tokens[static_cast<size_t>(token.id)];
    if (!slot.empty()) throw_bad_input("{}: the added token \"{}\" stands twice", file_, token.content);
    slot = token.content;
  }
  for (size_t id = 0; id < by_id.size(); ++id) {
    if (by_id[id] == kNone || !model.tokens[id].empty()) continue;
    auto bytes = unspell_bytes(text_of(by_id[id]));
    if (!bytes || bytes->empty()) {
      throw_bad_input("{}: the token \"{}\" (id {}) does not spell bytes; only byte-level BPE is supported",
                      file_, text_of(by_id[id]), id);
    }
    model.tokens[id] = std::move(*bytes);
  }
}

int32_t BpeModelBuilder::id_of(std::string_view token, const std::string& where) const {
  const auto it = ids_.find(token);
  if (it == ids_.end())
    throw_bad_input("{}: {} needs \"{}\", which is not in the vocabulary", file_, where, token);
  return it->second;
}

void BpeModelBuilder::add_merge(std::string_view left, std::string_view right, const std::string& where) {
  const BpeMerge merge{id_of(left, where), id_of(right, where),
                       id_of(fmt::format("{}{}", left, right), where)};
  const auto rank = static_cast<int32_t>(model.merges.size());
  if (!pairs_.insert(merge.left, merge.right, {rank, merge.merged})) {
    throw_bad_input("{}: {} is \"{} {}\", which an earlier merge is already", file_, where, left, right);
  }
  model.merges.push_back(merge);
}

}  // namespace trireme

#include "models/inference/speculation/ngram_index.h"

#include <algorithm>

#include "runtime/base/error.h"

namespace trireme {

namespace {

constexpr size_t kLeastSlots = 64;
// Texts are written by strangers, who may know the hash: what finds no place soon is left out.
constexpr size_t kMostProbes = 128;

std::span<const int32_t> ngram_before(std::span<const int32_t> tokens, int64_t end, int64_t width) {
  return tokens.subspan(static_cast<size_t>(end - width), static_cast<size_t>(width));
}

uint64_t hash_of_ngram(std::span<const int32_t> ngram) {
  uint64_t hash = 0;
  for (const int32_t token : ngram) {
    hash = (hash ^ static_cast<uint32_t>(token)) * 0x9e3779b97f4a7c15ULL;  // 2^64 over the golden ratio
    hash ^= hash >> 29;
  }
  return hash;
}

}  // namespace

NgramIndex::NgramIndex(int64_t longest, int64_t shortest) {
  TRIREME_CHECK(shortest >= 1 && shortest <= longest, "n-grams of {} to {} tokens", shortest, longest);
  for (int64_t width = longest; width >= shortest; --width) tables_.push_back({.width = width, .slots = {}});
}

void NgramIndex::insert(Table& table, std::span<const int32_t> tokens, int64_t end) const {
  if (2 * (static_cast<size_t>(table.num_used) + 1) > table.slots.size()) {
    std::vector<int32_t> old(std::max(kLeastSlots, 2 * table.slots.size()));
    std::swap(old, table.slots);
    table.num_used = 0;
    for (const int32_t place : old) {
      if (place != 0) insert(table, tokens, place);
    }
  }
  const auto ngram = ngram_before(tokens, end, table.width);
  const size_t home = hash_of_ngram(ngram), mask = table.slots.size() - 1;
  for (size_t i = 0; i < kMostProbes; ++i) {
    int32_t& slot = table.slots[(home + i) & mask];
    if (slot != 0 && !std::ranges::equal(ngram_before(tokens, slot, table.width), ngram)) continue;
    if (slot == 0) ++table.num_used;
    slot = static_cast<int32_t>(end);
    return;
  }
}

std::optional<int64_t> NgramIndex::find(const Table& table, std::span<const int32_t> tokens) const {
  const int64_t length = std::ssize(tokens);
  if (length < table.width || table.slots.empty()) return std::nullopt;
  const auto ngram = ngram_before(tokens, length, table.width);
  const size_t home = hash_of_ngram(ngram), mask = table.slots.size() - 1;
  for (size_t i = 0; i < kMostProbes; ++i) {
    const int32_t slot = table.slots[(home + i) & mask];
    if (slot == 0) return std::nullopt;
    if (std::ranges::equal(ngram_before(tokens, slot, table.width), ngram)) return slot;
  }
  return std::nullopt;
}

std::optional<int64_t> NgramIndex::follow(std::span<const int32_t> tokens) {
  const int64_t length = std::ssize(tokens);
  TRIREME_CHECK(length <= INT32_MAX && num_indexed_ <= std::max<int64_t>(length, 1),
                "a text of {} tokens, of which {} are known", length, num_indexed_);
  // Behind the last one there is nothing yet.
  for (int64_t end = std::max<int64_t>(num_indexed_, 1); end < length; ++end) {
    for (Table& table : tables_) {
      if (end >= table.width) insert(table, tokens, end);
    }
  }
  num_indexed_ = std::max<int64_t>(length, 1);
  for (const Table& table : tables_) {
    if (const auto place = find(table, tokens)) return place;
  }
  return std::nullopt;
}

}  // namespace trireme

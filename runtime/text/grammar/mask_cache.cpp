#include "runtime/text/grammar/mask_cache.h"

#include <utility>

namespace trireme {

void StateMask::add_to(std::span<uint64_t> allowed) const {
  for (size_t i = 0; i < words.size(); ++i) allowed[i] |= words[i];
  for (const int32_t token : tokens) allowed[static_cast<size_t>(token) / 64] |= uint64_t{1} << (token % 64);
}

size_t MaskCache::Hash::operator()(const Key& key) const {
  uint64_t hash = reinterpret_cast<uintptr_t>(key.grammar);
  for (const uint32_t part : {key.state, key.counter.need, key.counter.room}) {
    hash = (hash ^ part) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 32;
  }
  return hash;
}

std::shared_ptr<const StateMask> MaskCache::find(const Key& key) {
  const std::lock_guard lock(mutex_);
  if (const auto found = generations_[0].find(key); found != generations_[0].end()) return found->second.mask;
  const auto found = generations_[1].find(key);
  if (found == generations_[1].end()) return nullptr;
  Entry entry = std::move(found->second);
  generations_[1].erase(found);
  auto mask = entry.mask;
  add(key, std::move(entry));
  return mask;
}

void MaskCache::insert(const Key& key, std::shared_ptr<const ByteGrammar> grammar,
                       std::shared_ptr<const StateMask> mask) {
  const std::lock_guard lock(mutex_);
  add(key, {std::move(grammar), std::move(mask)});
}

void MaskCache::add(const Key& key, Entry entry) {
  const size_t size = entry.mask->size() + sizeof(Key) + sizeof(Entry) + 32;
  if (bytes_ + size > max_bytes_ / 2) {
    generations_[1] = std::move(generations_[0]);
    generations_[0].clear();
    bytes_ = 0;
  }
  if (generations_[0].emplace(key, std::move(entry)).second) bytes_ += size;
}

}  // namespace trireme

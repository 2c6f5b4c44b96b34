// Ids by spelling.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/data/tokenizer/text_list.h"

namespace trireme {

/// As a map of strings, in a fifth of its memory: texts in a list, and a table with open addressing that is
/// at most half full. Iterates in the order of insertion.
class Vocabulary {
 public:
  struct Entry {
    std::string_view first;  ///< valid until the next emplace()
    int32_t second;
  };
  class Iterator {
   public:
    struct Arrow {
      Entry entry;
      const Entry* operator->() const { return &entry; }
    };
    Iterator(const Vocabulary& of, size_t index) : of_(&of), index_(index) {}
    Entry operator*() const { return {of_->texts_[index_], of_->ids_[index_]}; }
    Arrow operator->() const { return {**this}; }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    bool operator==(const Iterator& other) const { return index_ == other.index_; }

   private:
    const Vocabulary* of_;
    size_t index_;
  };

  size_t size() const { return ids_.size(); }
  bool empty() const { return ids_.empty(); }
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, size()}; }
  bool contains(std::string_view text) const { return find(text) != end(); }
  Iterator find(std::string_view text) const {
    const uint32_t slot = slots_.empty() ? 0 : slots_[place_of(text)];
    return {*this, slot == 0 ? size() : slot - 1};
  }
  /// What is there already stays; says whether it was not.
  std::pair<Iterator, bool> emplace(std::string_view text, int32_t id) {
    if (2 * (size() + 1) > slots_.size()) grow();
    uint32_t& slot = slots_[place_of(text)];
    if (slot != 0) return {Iterator(*this, slot - 1), false};
    texts_.push_back(text);
    ids_.push_back(id);
    slot = static_cast<uint32_t>(size());
    return {Iterator(*this, size() - 1), true};
  }

 private:
  static constexpr size_t kLeastSlots = 16;

  /// The slot of `text`, or the free one where it would be.
  size_t place_of(std::string_view text) const {
    const size_t mask = slots_.size() - 1;
    size_t place = std::hash<std::string_view>{}(text)&mask;
    while (slots_[place] != 0 && texts_[slots_[place] - 1] != text) place = (place + 1) & mask;
    return place;
  }
  void grow() {
    slots_.assign(slots_.empty() ? kLeastSlots : 2 * slots_.size(), 0);
    for (size_t i = 0; i < size(); ++i) slots_[place_of(texts_[i])] = static_cast<uint32_t>(i + 1);
  }

  TextList texts_;
  std::vector<int32_t> ids_;
  std::vector<uint32_t> slots_;  ///< one more than an index; 0: free
};

}  // namespace trireme

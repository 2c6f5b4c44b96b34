#include "runtime/data/tokenizer/steps/charsmap.h"

#include <cstring>

#include "runtime/base/error.h"
#include "runtime/io/json/utf8.h"

namespace trireme {
namespace {

// A unit of Darts' double array: the label of the edge that leads to it, where its children begin relative to
// it, and whether a value hangs on it.
bool has_leaf(uint32_t unit) { return (unit >> 8 & 1u) == 1; }
uint32_t value_of(uint32_t unit) { return unit & 0x7FFFFFFFu; }
uint32_t label_of(uint32_t unit) { return unit & 0x800000FFu; }
uint32_t offset_of(uint32_t unit) { return (unit >> 10) << ((unit & 0x200u) >> 6); }

}  // namespace

Charsmap::Charsmap(std::string_view blob, const std::string& name) {
  if (blob.empty()) return;
  uint32_t bytes = 0;
  if (blob.size() >= sizeof bytes) std::memcpy(&bytes, blob.data(), sizeof bytes);
  if (blob.size() < sizeof bytes || bytes % 4 != 0 || bytes == 0 || bytes > blob.size() - sizeof bytes) {
    throw_bad_input("{}: the map of characters has {} bytes, of which its array is to take {}", name,
                    blob.size(), bytes);
  }
  units_.resize(bytes / 4);
  std::memcpy(units_.data(), blob.data() + sizeof bytes, bytes);
  replacements_ = blob.substr(sizeof bytes + bytes);
  if (replacements_.empty() || replacements_.back() != '\0')
    throw_bad_input("{}: the replacements in the map of characters do not end with a zero byte", name);
  if (find_utf8_error(replacements_))
    throw_bad_input("{}: the replacements in the map of characters are not UTF-8", name);
  // Every place that a leaf names is one of a replacement's characters.
  for (uint32_t place = 0; place < units_.size(); ++place) {
    const uint32_t unit = units_[place];
    const bool is_leaf = (unit >> 31) == 1;
    if (is_leaf &&
        (value_of(unit) >= replacements_.size() || is_utf8_continuation(replacements_[value_of(unit)])))
      throw_bad_input("{}: the map of characters leads to byte {} of {} bytes of replacements", name,
                      value_of(unit), replacements_.size());
  }
}

template <class Found>
void Charsmap::for_each_prefix(std::string_view text, const Found& found) const {
  if (units_.empty()) return;
  uint32_t place = offset_of(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte == 0) return;
    place ^= byte;
    if (place >= units_.size() || label_of(units_[place]) != byte) return;
    const uint32_t unit = units_[place];
    place ^= offset_of(unit);
    if (!has_leaf(unit)) continue;
    if (place >= units_.size() || (units_[place] >> 31) == 0) return;
    if (!found(i + 1, value_of(units_[place]))) return;
  }
}

std::string_view Charsmap::replacement(uint32_t place) const { return replacements_.c_str() + place; }

std::optional<std::string_view> Charsmap::shortest(std::string_view text) const {
  std::optional<std::string_view> result;
  for_each_prefix(text, [&](size_t, uint32_t place) {
    result = replacement(place);
    return false;
  });
  return result;
}

std::optional<Charsmap::Entry> Charsmap::longest(std::string_view text) const {
  std::optional<Entry> result;
  for_each_prefix(text, [&](size_t length, uint32_t place) {
    result = {replacement(place), length};
    return true;
  });
  return result;
}

}  // namespace trireme

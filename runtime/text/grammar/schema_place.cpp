#include "runtime/text/grammar/schema_place.h"

#include <vector>

#include "runtime/io/json/utf8.h"

namespace trireme {

std::string shortened(const std::string& text, size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && is_utf8_continuation(text[most])) --most;
  return text.substr(0, most) + "...";
}

std::string SchemaPlace::pointer() const {
  std::vector<const SchemaPlace*> way;
  for (const SchemaPlace* place = this; place->parent != nullptr; place = place->parent) way.push_back(place);
  std::string text = "#";
  constexpr size_t kLongest = 500;
  for (size_t i = way.size(); i-- > 0 && text.size() < kLongest;) {
    text += '/';
    for (const char c : shortened(way[i]->key)) {
      if (c == '~' || c == '/') {
        text += c == '~' ? "~0" : "~1";
      } else {
        text += c;
      }
    }
  }
  return shortened(text, kLongest);
}

}  // namespace trireme

#include "runtime/text/grammar/token_trie.h"

#include <algorithm>
#include <string_view>

namespace trireme {

TokenTrie::TokenTrie(const std::vector<std::string>& tokens) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!tokens[i].empty()) ids_.push_back(static_cast<int32_t>(i));
  }
  std::ranges::stable_sort(ids_, {},
                           [&](int32_t id) { return std::string_view(tokens[static_cast<size_t>(id)]); });
  nodes_.emplace_back();
  std::vector<uint32_t> way = {0};  // the nodes of the last token
  std::string_view last;
  for (size_t i = 0; i < ids_.size(); ++i) {
    const std::string_view text = tokens[static_cast<size_t>(ids_[i])];
    const auto common = static_cast<size_t>(std::ranges::mismatch(text, last).in1 - text.begin());
    for (; way.size() > common + 1; way.pop_back()) nodes_[way.back()].end = size();
    for (size_t at = common; at < text.size(); ++at) {
      way.push_back(size());
      nodes_.push_back({.byte = static_cast<uint8_t>(text[at])});
    }
    Node& node = nodes_[way.back()];
    if (node.num_ids++ == 0) node.first_id = static_cast<uint32_t>(i);
    depth_ = std::max(depth_, static_cast<uint32_t>(text.size()));
    last = text;
  }
  for (const uint32_t node : way) nodes_[node].end = size();
}

}  // namespace trireme

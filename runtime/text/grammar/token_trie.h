// A vocabulary's tokens by their bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace trireme {

/// Nodes in depth-first order: the children of node n are n + 1, end(n + 1) and so on, below end(n). Node 0
/// is the empty text.
class TokenTrie {
 public:
  /// Empty tokens are left out.
  explicit TokenTrie(const std::vector<std::string>& tokens);

  uint32_t size() const { return static_cast<uint32_t>(nodes_.size()); }
  uint32_t end(uint32_t node) const { return nodes_[node].end; }
  uint8_t byte(uint32_t node) const { return nodes_[node].byte; }
  /// The tokens that end here.
  std::span<const int32_t> tokens(uint32_t node) const {
    return {ids_.data() + nodes_[node].first_id, nodes_[node].num_ids};
  }
  /// Bytes of the longest token.
  uint32_t depth() const { return depth_; }

 private:
  struct Node {
    uint32_t end = 0;
    uint32_t first_id = 0, num_ids = 0;
    uint8_t byte = 0;
  };
  std::vector<Node> nodes_;
  std::vector<int32_t> ids_;
  uint32_t depth_ = 0;
};

}  // namespace trireme

#include "parallel/context_parallel/key_visibility.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "runtime/base/error.h"

namespace trireme::ring {

void VisibleKeys::make_pieces() {
  std::vector<size_t> order(visits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto place_of = [this](size_t i) { return std::pair(visits[i].sequence, visits[i].seen.keys.begin); };
  std::ranges::stable_sort(order, {}, place_of);
  int64_t at = 0;
  for (const size_t i : order) {
    Visit& visit = visits[i];
    const Part& rows = visit.seen.keys;
    const bool continues =
        !pieces.empty() && pieces.back().sequence == visit.sequence && rows.begin <= pieces.back().rows.end;
    if (!continues) pieces.push_back({visit.sequence, {rows.begin, rows.begin}, at});
    Piece& piece = pieces.back();
    at += std::max<int64_t>(rows.end - piece.rows.end, 0);
    piece.rows.end = std::max(piece.rows.end, rows.end);
    visit.piece = pieces.size() - 1;
  }
}

KeyVisibility::KeyVisibility(const ContextShare& share, const ops::AttentionShape& shape,
                             std::span<const int32_t> chunk_first_keys)
    : share_(share), shape_(shape), limits_{shape.window, shape.pattern}, first_keys_(chunk_first_keys) {
  // A pattern counts from the beginning of documents that the host does not know.
  if (shape.pattern && shape.first_key && first_keys_.empty()) limits_ = {};
  TRIREME_CHECK(first_keys_.empty() || first_keys_.size() == static_cast<size_t>(shape.batch) * chunks(),
                "first keys of {} chunks for {} sequences of {}", first_keys_.size(), shape.batch, chunks());
  for (int step = 1; step < share.size; ++step) {
    bool is_needed = false;
    for (int reader = 0; reader < share.size && !is_needed; ++reader)
      is_needed = !visible(reader, holder_for(reader, step)).pieces.empty();
    if (is_needed) steps_.push_back(step);
  }
}

VisibleKeys KeyVisibility::visible(int reader, int owner) const {
  VisibleKeys visible;
  for (int64_t b = 0; b < shape_.batch; ++b) {
    const auto first_keys =
        first_keys_.empty() ? first_keys_ : first_keys_.subspan(static_cast<size_t>(b) * chunks(), chunks());
    for (const SeenKeys& seen :
         ContextShare{reader, share_.size}.seen_within(limits_, owner, shape_.q_len, first_keys)) {
      visible.add(b, seen);
    }
  }
  visible.make_pieces();
  return visible;
}

}  // namespace trireme::ring

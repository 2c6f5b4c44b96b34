#include "parallel/context_parallel/key_visibility.h"

#include <algorithm>
#include <utility>

#include "runtime/base/error.h"

namespace trireme::ring {

void VisibleKeys::add(int64_t sequence, const SeenKeys& seen) {
  size_t i = 0;  // two chunks of queries may look at one of keys, both up to its end
  while (i < pieces.size() && (pieces[i].sequence != sequence || pieces[i].rows.end != seen.keys.end)) ++i;
  if (i == pieces.size()) pieces.push_back({sequence, seen.keys, 0});
  pieces[i].rows.begin = std::min(pieces[i].rows.begin, seen.keys.begin);
  visits.push_back({seen, i});
}

void VisibleKeys::place_pieces() {
  int64_t at = 0;
  for (Piece& piece : pieces) piece.at = std::exchange(at, at + piece.rows.size());
}

KeyVisibility::KeyVisibility(const ContextShare& share, const ops::AttentionShape& shape,
                             std::span<const int32_t> chunk_first_keys)
    : share_(share), shape_(shape), first_keys_(chunk_first_keys) {
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
         ContextShare{reader, share_.size}.seen_within(shape_.window, owner, shape_.q_len, first_keys)) {
      visible.add(b, seen);
    }
  }
  visible.place_pieces();
  return visible;
}

}  // namespace trireme::ring

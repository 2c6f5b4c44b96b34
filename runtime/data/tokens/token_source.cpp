#include "runtime/data/tokens/token_source.h"

#include <algorithm>

#include "runtime/base/error.h"

namespace trireme {
namespace {

void check_range(const TokenSource& source, int64_t begin, int64_t count) {
  TRIREME_CHECK(
      begin >= 0 && count >= 0 && begin <= source.num_tokens() && count <= source.num_tokens() - begin,
      "tokens {} to {} of {} ({} tokens)", begin, begin + count, source.name(), source.num_tokens());
}

}  // namespace

void TokenVector::read(int64_t begin, int64_t count, int32_t* out) const {
  check_range(*this, begin, count);
  std::copy_n(ids_.begin() + begin, count, out);
}

TokenSlice::TokenSlice(std::shared_ptr<const TokenSource> whole, int64_t begin, int64_t end)
    : whole_(std::move(whole)), begin_(begin), end_(end) {
  TRIREME_CHECK(begin <= end);
  check_range(*whole_, begin, end - begin);
}

void TokenSlice::read(int64_t begin, int64_t count, int32_t* out) const {
  check_range(*this, begin, count);
  whole_->read(begin_ + begin, count, out);
}

void check_ids(std::span<const int32_t> ids, int64_t vocab_size, const std::string& file,
               int64_t base_position) {
  const auto is_bad = [=](int32_t id) { return id < 0 || id >= vocab_size; };
  const auto bad = std::find_if(ids.begin(), ids.end(), is_bad);
  if (bad == ids.end()) return;
  throw_bad_input(
      "{}: the token at position {} is {}, outside the vocabulary of {}; was the file made with another "
      "tokenizer?",
      file, base_position + (bad - ids.begin()), *bad, vocab_size);
}

}  // namespace trireme

#include "runtime/data/tokenizer/tokenizer.h"

#include "runtime/base/error.h"
#include "runtime/base/philox.h"
#include "runtime/io/files/atomic_file.h"

namespace trireme {

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocab_size()) {
      throw_bad_input("cannot decode id {} at position {}: the {} tokenizer has ids 0 to {}", ids[i], i,
                      kind(), vocab_size() - 1);
    }
    append_token(text, ids[i]);
  }
  return text;
}

void Tokenizer::save(const std::string& path) const { write_file_atomically(path, to_json()); }

uint64_t Tokenizer::fingerprint() const { return hash_name(to_json()); }

}  // namespace trireme

#include "runtime/data/tokens/token_file.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "runtime/base/error.h"

namespace trireme {

std::shared_ptr<TokenFile> TokenFile::open(const std::string& path, TokenFormat format) {
  if (path.ends_with(".idx")) throw_bad_input("{} is an index; give the .bin file next to it", path);
  MappedFile file(path);
  if (format == TokenFormat::automatic) format = detect_token_format(file);
  TokenLayout layout;
  switch (format) {
    case TokenFormat::automatic:
      break;
    case TokenFormat::trireme:
      layout = read_tok_layout(file);
      break;
    case TokenFormat::llmc:
      layout = read_llmc_layout(file);
      break;
    case TokenFormat::nanogpt:
      layout = read_nanogpt_layout(file);
      break;
    case TokenFormat::megatron:
      layout = read_megatron_layout(file, MappedFile(megatron_index_path(path)));
      break;
  }
  return std::shared_ptr<TokenFile>(new TokenFile(std::move(file), std::move(layout)));
}

void TokenFile::read(int64_t begin, int64_t count, int32_t* out) const {
  TRIREME_CHECK(begin >= 0 && count >= 0 && begin <= num_tokens() && count <= num_tokens() - begin,
                "tokens {} to {} of {} ({} tokens)", begin, begin + count, name(), num_tokens());
  const auto& runs = layout_.runs;
  auto run = std::upper_bound(runs.begin(), runs.end(), begin,
                              [](int64_t position, const TokenRun& r) { return position < r.first_token; }) -
             1;
  while (count > 0) {
    const int64_t end = run + 1 == runs.end() ? num_tokens() : (run + 1)->first_token;
    const int64_t now = std::min(count, end - begin);
    const int64_t offset = run->byte_offset + (begin - run->first_token) * bytes_of(layout_.type);
    switch (layout_.type) {
      case TokenType::u8:
        read_run<uint8_t>(begin, now, offset, out);
        break;
      case TokenType::u16:
        read_run<uint16_t>(begin, now, offset, out);
        break;
      case TokenType::i16:
        read_run<int16_t>(begin, now, offset, out);
        break;
      case TokenType::i32:
        read_run<int32_t>(begin, now, offset, out);
        break;
      case TokenType::u32:
        read_run<uint32_t>(begin, now, offset, out);
        break;
      case TokenType::i64:
        read_run<int64_t>(begin, now, offset, out);
        break;
    }
    begin += now;
    count -= now;
    out += now;
    ++run;
  }
}

template <class T>
void TokenFile::read_run(int64_t begin, int64_t count, int64_t byte_offset, int32_t* out) const {
  const std::byte* from = file_.bytes().data() + byte_offset;
  for (int64_t i = 0; i < count; ++i) {
    T value;  // the data need not be aligned
    std::memcpy(&value, from + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
    if (!std::in_range<int32_t>(value)) {
      throw_bad_input("{}: the token at position {} is {}, more than any vocabulary", name(), begin + i,
                      value);
    }
    out[i] = static_cast<int32_t>(value);
  }
}

TokenFileWriter::TokenFileWriter(const std::string& path, int64_t vocab_size, uint64_t fingerprint)
    : file_(path) {
  TRIREME_CHECK(vocab_size > 0 && vocab_size <= int64_t{1} << 31, "vocabulary of {}", vocab_size);
  std::memcpy(header_.magic, kTokMagic.data(), sizeof header_.magic);
  header_.version = kTokVersion;
  header_.bytes_per_token = vocab_size <= (int64_t{1} << 16) ? 2 : 4;
  header_.vocab_size = static_cast<uint64_t>(vocab_size);
  header_.fingerprint = fingerprint;
  file_.write(std::as_bytes(std::span(&header_, 1)));  // the count follows in finish()
}

void TokenFileWriter::write(std::span<const int32_t> ids) {
  check_ids(ids, static_cast<int64_t>(header_.vocab_size), file_.path(), num_tokens());
  header_.num_tokens += ids.size();
  if (header_.bytes_per_token == 4) return file_.write(std::as_bytes(ids));
  const std::vector<uint16_t> narrow(ids.begin(), ids.end());
  file_.write(std::as_bytes(std::span(narrow)));
}

void TokenFileWriter::finish() {
  file_.rewrite(0, std::as_bytes(std::span(&header_, 1)));
  file_.commit();
}

}  // namespace trireme

#include "runtime/data/tokens/token_format.h"

#include <bit>
#include <cstring>
#include <filesystem>

#include "runtime/base/error.h"

namespace trireme {
namespace {

static_assert(std::endian::native == std::endian::little, "token files are read as they lie");

constexpr size_t kLlmcHeaderBytes = 256 * sizeof(int32_t);
struct LlmcKind {
  int32_t magic, version;
  TokenType type;
};
constexpr LlmcKind kLlmcKinds[] = {{20240520, 1, TokenType::u16}, {20240801, 7, TokenType::u32}};

constexpr std::pair<TokenFormat, std::string_view> kNames[] = {{TokenFormat::automatic, "auto"},
                                                               {TokenFormat::trireme, "trireme"},
                                                               {TokenFormat::llmc, "llmc"},
                                                               {TokenFormat::nanogpt, "nanogpt"},
                                                               {TokenFormat::megatron, "megatron"}};

template <class T>
T load(const MappedFile& file, size_t offset) {
  T value;
  std::memcpy(&value, file.bytes().data() + offset, sizeof value);
  return value;
}

void check_header_fits(const MappedFile& file, size_t header_bytes) {
  if (file.size() < header_bytes) {
    throw_bad_input("{} is {} bytes long, too short for its header of {} bytes: it is truncated", file.path(),
                    file.size(), header_bytes);
  }
}

// `count` is the header's claim; computed without overflow.
void check_body(const MappedFile& file, size_t header_bytes, uint64_t count, TokenType type) {
  const uint64_t body = file.size() - header_bytes, width = static_cast<uint64_t>(bytes_of(type));
  if (body % width != 0 || body / width != count) {
    throw_bad_input(
        "{}: the header says {} tokens of {} bytes after {} bytes of header, but the file is {} bytes "
        "long, which holds {:.1f}",
        file.path(), count, width, header_bytes, file.size(),
        static_cast<double>(body) / static_cast<double>(width));
  }
}

const LlmcKind* find_llmc_kind(const MappedFile& file) {
  if (file.size() < sizeof(int32_t)) return nullptr;
  const auto magic = load<int32_t>(file, 0);
  for (const auto& kind : kLlmcKinds) {
    if (kind.magic == magic) return &kind;
  }
  return nullptr;
}

bool has_tok_magic(const MappedFile& file) { return file.text().starts_with(kTokMagic); }

}  // namespace

std::string_view to_string(TokenFormat format) {
  for (const auto& [value, name] : kNames) {
    if (value == format) return name;
  }
  TRIREME_CHECK(false, "format {}", static_cast<int>(format));
}

TokenFormat parse_token_format(std::string_view name) {
  for (const auto& [value, known] : kNames) {
    if (known == name) return value;
  }
  throw_usage("unknown token file format '{}'; known are auto, trireme, llmc, nanogpt and megatron", name);
}

int64_t bytes_of(TokenType type) {
  switch (type) {
    case TokenType::u8:
      return 1;
    case TokenType::u16:
    case TokenType::i16:
      return 2;
    case TokenType::i32:
    case TokenType::u32:
      return 4;
    case TokenType::i64:
      return 8;
  }
  TRIREME_CHECK(false, "type {}", static_cast<int>(type));
}

TokenLayout read_tok_layout(const MappedFile& file) {
  check_header_fits(file, sizeof(TokHeader));
  const auto header = load<TokHeader>(file, 0);
  const std::string& path = file.path();
  if (!has_tok_magic(file))
    throw_bad_input("{} is not a .tok file: it does not begin with {}", path, kTokMagic);
  if (header.version != kTokVersion) {
    throw_bad_input("{}: version {} of the .tok format is not supported; {} is", path, header.version,
                    kTokVersion);
  }
  if (header.bytes_per_token != 2 && header.bytes_per_token != 4) {
    throw_bad_input("{}: the header says {} bytes per token; expected 2 or 4", path, header.bytes_per_token);
  }
  const uint64_t most_ids = header.bytes_per_token == 2 ? uint64_t{1} << 16 : uint64_t{1} << 31;
  if (header.vocab_size == 0 || header.vocab_size > most_ids) {
    throw_bad_input("{}: the header says a vocabulary of {}; 1 to {} fit {} bytes a token", path,
                    header.vocab_size, most_ids, header.bytes_per_token);
  }
  for (const uint64_t value : header.reserved) {
    if (value != 0) throw_bad_input("{}: a reserved field of the header is {}, not 0", path, value);
  }
  const TokenType type = header.bytes_per_token == 2 ? TokenType::u16 : TokenType::u32;
  check_body(file, sizeof(TokHeader), header.num_tokens, type);
  return {TokenFormat::trireme,
          type,
          static_cast<int64_t>(header.num_tokens),
          {{0, sizeof(TokHeader)}},
          static_cast<int64_t>(header.vocab_size),
          std::nullopt,
          header.fingerprint};
}

TokenLayout read_llmc_layout(const MappedFile& file) {
  check_header_fits(file, kLlmcHeaderBytes);
  const LlmcKind* kind = find_llmc_kind(file);
  if (!kind) {
    throw_bad_input("{} is not an llm.c token file: it begins with {}, not with {} or {}", file.path(),
                    load<int32_t>(file, 0), kLlmcKinds[0].magic, kLlmcKinds[1].magic);
  }
  const auto version = load<int32_t>(file, 4);
  if (version != kind->version) {
    throw_bad_input("{}: version {} of the llm.c format {} is not supported; {} is", file.path(), version,
                    kind->magic, kind->version);
  }
  const auto count = load<uint32_t>(file, 8);
  check_body(file, kLlmcHeaderBytes, count, kind->type);
  return {TokenFormat::llmc, kind->type,   count,       {{0, kLlmcHeaderBytes}},
          std::nullopt,      std::nullopt, std::nullopt};
}

TokenLayout read_nanogpt_layout(const MappedFile& file) {
  if (has_tok_magic(file) || (find_llmc_kind(file) && file.size() >= kLlmcHeaderBytes)) {
    throw_bad_input("{} is not a nanoGPT file: it has the header of the format {}", file.path(),
                    to_string(has_tok_magic(file) ? TokenFormat::trireme : TokenFormat::llmc));
  }
  if (file.size() % 2 != 0) {
    throw_bad_input(
        "{} is {} bytes long: not a whole number of 16-bit tokens (nanoGPT's format), and it has no "
        "header of another format",
        file.path(), file.size());
  }
  return {TokenFormat::nanogpt, TokenType::u16, static_cast<int64_t>(file.size() / 2), {{0, 0}}, std::nullopt,
          std::nullopt,         std::nullopt};
}

bool has_llmc_magic(const MappedFile& file) { return find_llmc_kind(file) != nullptr; }

std::string megatron_index_path(const std::string& data_path) {
  return std::filesystem::path(data_path).replace_extension(".idx").string();
}

}  // namespace trireme

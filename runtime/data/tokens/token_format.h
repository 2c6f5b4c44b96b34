// The token files that are read as they are, and how their headers describe them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/files/mapped_file.h"

namespace trireme {

enum class TokenFormat { automatic, trireme, llmc, nanogpt, megatron };

std::string_view to_string(TokenFormat format);
/// "auto", "trireme", "llmc", "nanogpt" or "megatron"; UserError(usage) for anything else.
TokenFormat parse_token_format(std::string_view name);

enum class TokenType { u8, u16, i16, i32, u32, i64 };
int64_t bytes_of(TokenType type);

/// A run of tokens that lie side by side in the data file.
struct TokenRun {
  int64_t first_token;  ///< position in the stream
  int64_t byte_offset;
};

/// Where the tokens of a file lie. All of it has been checked against the file's size.
struct TokenLayout {
  TokenFormat format = TokenFormat::trireme;
  TokenType type = TokenType::u16;
  int64_t num_tokens = 0;
  std::vector<TokenRun> runs;            ///< ordered by first_token; the first begins at 0
  std::optional<int64_t> vocab_size;     ///< when the header says so
  std::optional<int64_t> num_documents;  ///< when the header or index says so
  std::optional<uint64_t> fingerprint;
};

/// Our own format (.tok), little-endian: 64 bytes of header, then the ids.
struct TokHeader {
  char magic[8];
  uint32_t version;
  uint32_t bytes_per_token;  ///< 2 or 4, unsigned
  uint64_t vocab_size;
  uint64_t num_tokens;
  uint64_t fingerprint;  ///< Tokenizer::fingerprint(), 0 when unknown
  uint64_t reserved[3];  ///< 0
};
static_assert(sizeof(TokHeader) == 64);
inline constexpr std::string_view kTokMagic = "TRIREMET";
inline constexpr uint32_t kTokVersion = 1;

/// The readers of one format each. UserError(bad_input) naming file, field, value and the file's size.
TokenLayout read_tok_layout(const MappedFile& file);
/// llm.c: 256 int32, the first three magic, version and token count; 20240520/1 is u16 (GPT-2), 20240801/7
/// u32 (Llama 3).
TokenLayout read_llmc_layout(const MappedFile& file);
/// nanoGPT: u16 and nothing else. A whole header of another format is refused even so.
TokenLayout read_nanogpt_layout(const MappedFile& file);
/// Megatron: `index` describes the sequences in `data`, all of it, once; they are read as one stream, in the
/// index's order.
TokenLayout read_megatron_layout(const MappedFile& data, const MappedFile& index);

/// Whether the file begins with one of llm.c's magic numbers.
bool has_llmc_magic(const MappedFile& file);

/// The path of the .idx beside a .bin.
std::string megatron_index_path(const std::string& data_path);

/// The format by magic number, then by an .idx beside the file. A file without either is nanoGPT's when its
/// name ends in .bin and its bytes can be 16-bit ids. UserError(bad_input) that says what the file looks like
/// instead, a header one bit or a version away from a known one among them.
TokenFormat detect_token_format(const MappedFile& file);

/// What speaks against `bytes`, a whole file, being 16-bit ids without a header: "it is gzip (compressed)";
/// empty when nothing does.
std::string why_not_nanogpt(std::string_view bytes);

}  // namespace trireme

// Token ids on disk, memory-mapped.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "runtime/data/tokens/token_format.h"
#include "runtime/data/tokens/token_source.h"
#include "runtime/io/files/atomic_file.h"
#include "runtime/io/files/mapped_file.h"

namespace trireme {

class TokenFile final : public TokenSource {
 public:
  /// Opens a token file; for Megatron `path` is the .bin, the .idx lies beside it. UserError(bad_input)
  /// naming file, field and value when the header does not fit the file, or what the file is when it is of no
  /// known format (detect_token_format).
  static std::shared_ptr<TokenFile> open(const std::string& path,
                                         TokenFormat format = TokenFormat::automatic);

  int64_t num_tokens() const override { return layout_.num_tokens; }
  void read(int64_t begin, int64_t count, int32_t* out) const override;
  const std::string& name() const override { return file_.path(); }

  TokenFormat format() const { return layout_.format; }
  int64_t bits_per_token() const { return 8 * bytes_of(layout_.type); }
  /// Where header or index say so.
  std::optional<int64_t> num_documents() const { return layout_.num_documents; }
  /// Ids are below this, where the header says so (ids themselves are checked as they are read into batches).
  std::optional<int64_t> max_vocab() const { return layout_.vocab_size; }
  /// Tokenizer::fingerprint() of the tokenizer that made the file, where the header says so.
  std::optional<uint64_t> fingerprint() const { return layout_.fingerprint; }

 private:
  TokenFile(MappedFile file, TokenLayout layout) : file_(std::move(file)), layout_(std::move(layout)) {}
  template <class T>
  void read_run(int64_t begin, int64_t count, int64_t byte_offset, int32_t* out) const;

  MappedFile file_;
  TokenLayout layout_;
};

/// Writes our own format; the file appears under its name with finish() only. Errors as AtomicFileWriter.
class TokenFileWriter {
 public:
  /// 16 bits a token when `vocab_size` allows it, else 32.
  TokenFileWriter(const std::string& path, int64_t vocab_size, uint64_t fingerprint);
  /// UserError(bad_input) for an id outside the vocabulary.
  void write(std::span<const int32_t> ids);
  void finish();
  int64_t num_tokens() const { return static_cast<int64_t>(header_.num_tokens); }

 private:
  AtomicFileWriter file_;
  TokHeader header_{};
};

}  // namespace trireme

#include "launch/commands/data_command.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <limits>
#include <optional>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/tokenize.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/data/tokens/token_file.h"

namespace trireme::launch {
namespace {

namespace fs = std::filesystem;

void make_folder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw_usage("cannot create the directory {}: {}", path, error.message());
}

/// A file of an earlier build does not belong to this one.
void remove_earlier(const std::string& path, std::FILE* out) {
  std::error_code error;
  if (fs::remove(path, error)) fmt::print(out, "  note: {} of an earlier build was removed\n", path);
  if (error) throw_environment("{} of an earlier build cannot be removed: {}", path, error.message());
}

void check_not_empty(const TokenFileWriter& writer, const std::string& path) {
  if (writer.num_tokens() > 0) return;
  throw_bad_input(
      "{} would be empty: the input is too short, or the validation fraction gives it no document", path);
}

// The largest id, 0 when there is none; every id is checked.
int32_t scan_ids(const TokenSource& source, int64_t vocab_size) {
  constexpr int64_t kStep = int64_t{1} << 20;
  std::vector<int32_t> ids;
  int32_t largest = 0;
  for (int64_t begin = 0; begin < source.num_tokens(); begin += kStep) {
    ids.resize(static_cast<size_t>(std::min(kStep, source.num_tokens() - begin)));
    source.read(begin, static_cast<int64_t>(ids.size()), ids.data());
    check_ids(ids, vocab_size, source.name(), begin);
    largest = std::max(largest, *std::max_element(ids.begin(), ids.end()));
  }
  return largest;
}

}  // namespace

void run_data_build(const DataBuildOptions& options, std::FILE* out) {
  if (options.input.files.empty()) throw_usage("no text to build token files from: name text or JSONL files");
  if (options.out_dir.empty()) throw_usage("no folder for the token files: name one");
  const auto start = std::chrono::steady_clock::now();
  const auto tokenizer =
      make_tokenizer(options.tokenizer, options.input, options.bpe_vocab, options.end_of_text);
  make_folder(options.out_dir);
  const auto path = [&](const char* name) { return (fs::path(options.out_dir) / name).string(); };
  const uint64_t fingerprint = tokenizer->fingerprint();
  TokenFileWriter train(path("train.tok"), tokenizer->vocab_size(), fingerprint);
  std::optional<TokenFileWriter> validation;
  if (options.validation_fraction > 0) {
    validation.emplace(path("validation.tok"), tokenizer->vocab_size(), fingerprint);
  }
  const auto counts = tokenize(
      options.input, *tokenizer, options.validation_fraction, options.num_threads,
      [&](std::span<const int32_t> ids) { train.write(ids); },
      [&](std::span<const int32_t> ids) {
        if (validation) validation->write(ids);
      });
  check_not_empty(train, path("train.tok"));
  if (validation) check_not_empty(*validation, path("validation.tok"));
  tokenizer->save(path("tokenizer.json"));

  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print(out,
             "{} tokenizer, vocabulary {}, {} document{}{}, {} bytes of text in {:.1f} s ({:.1f} MB/s)\n",
             tokenizer->kind(), tokenizer->vocab_size(), counts.documents, counts.documents == 1 ? "" : "s",
             counts.json_lines == 0 ? "" : fmt::format(" ({} from JSON lines)", counts.json_lines),
             counts.text_bytes, seconds, static_cast<double>(counts.text_bytes) / 1e6 / seconds);
  if (counts.documents > 1 && !tokenizer->end_of_text()) {
    fmt::print(out,
               "  note: this tokenizer has no known end-of-text token; documents are joined without a "
               "separator (name one by --end-of-text)\n");
  }
  fmt::print(out, "  {}\n", path("tokenizer.json"));
  train.finish();
  fmt::print(out, "  {}: {} tokens\n", path("train.tok"), train.num_tokens());
  if (!validation) return remove_earlier(path("validation.tok"), out);
  validation->finish();
  fmt::print(out, "  {}: {} tokens\n", path("validation.tok"), validation->num_tokens());
}

void run_data_inspect(const DataInspectOptions& options, std::FILE* out) {
  const auto file = TokenFile::open(options.file, options.format);
  const auto tokenizer = options.tokenizer.empty() ? nullptr : load_tokenizer(options.tokenizer);
  fmt::print(out, "{}: {} format, {} tokens of {} bits{}\n", options.file, to_string(file->format()),
             file->num_tokens(), file->bits_per_token(),
             file->num_documents() ? fmt::format(" in {} documents", *file->num_documents()) : "");
  int64_t vocab_size = file->max_vocab().value_or(std::numeric_limits<int32_t>::max());
  if (file->max_vocab()) fmt::print(out, "  vocabulary {} (header)\n", *file->max_vocab());
  if (tokenizer) {
    vocab_size = std::min(vocab_size, tokenizer->vocab_size());
    const bool is_other =
        file->fingerprint().value_or(0) != 0 && *file->fingerprint() != tokenizer->fingerprint();
    fmt::print(out, "  vocabulary {} ({} tokenizer{})\n", tokenizer->vocab_size(), tokenizer->kind(),
               is_other ? "; NOT the one this file was made with" : "");
  }
  fmt::print(out, "  largest id {}\n", scan_ids(*file, vocab_size));
  if (!tokenizer) return;
  std::vector<int32_t> ids(
      static_cast<size_t>(std::clamp<int64_t>(options.show_tokens, 0, file->num_tokens())));
  file->read(0, static_cast<int64_t>(ids.size()), ids.data());
  fmt::print(out, "  begins: {}\n", tokenizer->decode(ids));
}

}  // namespace trireme::launch

#include "launch/run/training_data.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>

#include "launch/report/number_text.h"
#include "runtime/base/error.h"
#include "runtime/data/tokenizer/byte_tokenizer.h"
#include "runtime/data/tokenizer/tokenize.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/data/tokenizer_kind.h"
#include "runtime/data/tokens/token_file.h"

namespace trireme::launch {

namespace {

// Only a tokenizer from a file can be told its token; a configuration may name one that the command line
// replaced.
std::string named_end_of_text(const DataConfig& config) {
  return tokenizer_kind(config.tokenizer) == TokenizerKind::file ? config.end_of_text : "";
}

std::shared_ptr<const TokenSource> part(const std::shared_ptr<const TokenSource>& whole, int64_t begin,
                                        int64_t end) {
  return begin < end ? std::make_shared<TokenSlice>(whole, begin, end) : nullptr;
}

// Splits [0, validation_begin) and the rest.
void split(TrainingData& data, std::shared_ptr<const TokenSource> whole, int64_t validation_begin) {
  data.train = part(whole, 0, validation_begin);
  data.validation = part(whole, validation_begin, whole->num_tokens());
  if (!data.train) throw_usage("--data.valid-fraction leaves no token of {} to train on", whole->name());
}

// What a run should know of its text before it trains for hours.
std::string describe(const TokenizeCounts& counts, const Tokenizer& tokenizer) {
  const bool is_text = counts.json_lines == 0, is_one = counts.documents == 1;
  std::string text =
      fmt::format("{}: {} bytes in {} document{}, {} + {} tokens of {} ids",
                  is_text                                 ? "plain text"
                  : counts.json_lines == counts.documents ? "JSON lines"
                                                          : "JSON lines and plain text",
                  grouped(counts.text_bytes), grouped(counts.documents), is_one ? "" : "s",
                  grouped(counts.train_tokens), grouped(counts.validation_tokens), tokenizer.vocab_size());
  if (!is_one && !tokenizer.end_of_text()) {
    text +=
        "; note: this tokenizer has no known end-of-text token, documents are joined without a "
        "separator (name one by --data.end-of-text)";
  }
  return text;
}

std::string describe(const TokenFile& file, TokenFormat asked_for) {
  std::string text = fmt::format("{} format, {} tokens of {} bits", to_string(file.format()),
                                 grouped(file.num_tokens()), file.bits_per_token());
  if (file.format() == TokenFormat::nanogpt) {
    text += asked_for == TokenFormat::automatic ? " (no header: guessed from the file's name and bytes)"
                                                : " (no header: as --data.format says)";
  }
  if (file.num_documents()) text += fmt::format(" in {} documents", grouped(*file.num_documents()));
  return text;
}

// Ids of some blocks over the whole file, so that a file of another width or vocabulary is found before the
// first step.
void check_some_ids(const TokenSource& source, int64_t vocab_size) {
  constexpr int64_t kBlocks = 64, kBlockTokens = 4096;
  const int64_t block = std::min(kBlockTokens, source.num_tokens());
  std::vector<int32_t> ids(static_cast<size_t>(block));
  const double stride = static_cast<double>(source.num_tokens() - block) / static_cast<double>(kBlocks - 1);
  for (int64_t i = 0; i < kBlocks && block > 0; ++i) {
    const auto begin = static_cast<int64_t>(stride * static_cast<double>(i));
    source.read(begin, block, ids.data());
    check_ids(ids, vocab_size, source.name(), begin);
  }
}

TrainingData from_text(Context& ctx, Communicator& world, const DataConfig& config) {
  TrainingData data;
  std::vector<int32_t> ids;
  std::array<int64_t, 3> sizes{};  // tokens, where validation begins, vocabulary
  if (world.rank() == 0) {
    TextInput input{{config.text}};
    input.format = parse_text_format(config.format);
    data.tokenizer = make_tokenizer(config.tokenizer, input, config.bpe_vocab, named_end_of_text(config));
    std::vector<int32_t> validation;
    const auto append_to = [](std::vector<int32_t>& to) {
      return [&to](std::span<const int32_t> from) { to.insert(to.end(), from.begin(), from.end()); };
    };
    const auto counts = tokenize(input, *data.tokenizer, config.valid_fraction, ctx.num_threads(),
                                 append_to(ids), append_to(validation));
    if (ids.empty() && validation.empty())
      throw_bad_input("{} holds no text: there is nothing to train on", config.text);
    data.description = describe(counts, *data.tokenizer);
    sizes = {static_cast<int64_t>(ids.size() + validation.size()), static_cast<int64_t>(ids.size()),
             data.tokenizer->vocab_size()};
    ids.insert(ids.end(), validation.begin(), validation.end());
    data.fingerprint = data.tokenizer->fingerprint();
  }
  world.broadcast(ctx.host_stream(), Tensor::borrow(sizes.data(), {3}, DType::i64), 0);
  ids.resize(static_cast<size_t>(sizes[0]));
  world.broadcast(ctx.host_stream(), Tensor::borrow(ids.data(), {sizes[0]}, DType::i32), 0);
  data.vocab_size = sizes[2];
  split(data, std::make_shared<TokenVector>(std::move(ids), config.text), sizes[1]);
  return data;
}

// Ids mean something under the tokenizer that made them alone.
void check_made_alike(const TokenFile& train, const TokenFile& validation) {
  const auto differ = [&](const char* what, const std::string& of_train, const std::string& of_validation) {
    throw_bad_input("{} and {} were made with different tokenizers: their {} differ ({} and {})",
                    train.name(), validation.name(), what, of_train, of_validation);
  };
  const uint64_t of_train = train.fingerprint().value_or(0),
                 of_validation = validation.fingerprint().value_or(0);
  if (of_train != 0 && of_validation != 0 && of_train != of_validation)
    differ("fingerprints", fmt::format("{:016x}", of_train), fmt::format("{:016x}", of_validation));
  if (train.max_vocab() && validation.max_vocab() && *train.max_vocab() != *validation.max_vocab()) {
    differ("vocabularies", fmt::format("{} ids", *train.max_vocab()),
           fmt::format("{} ids", *validation.max_vocab()));
  }
}

TrainingData from_token_files(Communicator& world, const DataConfig& config, int64_t model_vocab) {
  TrainingData data;
  const TokenFormat format = parse_token_format(config.format);
  const auto train = TokenFile::open(config.tokens, format);
  if (world.rank() == 0 && tokenizer_kind(config.tokenizer) == TokenizerKind::file) {
    data.tokenizer = load_tokenizer(config.tokenizer, config.end_of_text);
    if (train->fingerprint() && *train->fingerprint() != data.tokenizer->fingerprint()) {
      throw_bad_input(
          "{} was not made with the tokenizer {}: their fingerprints differ ({:016x} and {:016x})",
          config.tokens, config.tokenizer, *train->fingerprint(), data.tokenizer->fingerprint());
    }
  }
  if (!train->max_vocab() && model_vocab == 0) {
    throw_usage("{} does not state its vocabulary size: give --model.vocab", config.tokens);
  }
  data.fingerprint = train->fingerprint().value_or(0);
  data.vocab_size = train->max_vocab().value_or(model_vocab);
  data.description = describe(*train, format);
  check_some_ids(*train, data.vocab_size);
  if (config.valid_tokens.empty()) {
    const auto kept = std::llround(static_cast<double>(train->num_tokens()) * config.valid_fraction);
    split(data, train, train->num_tokens() - kept);
  } else {
    const auto validation = TokenFile::open(config.valid_tokens, format);
    check_made_alike(*train, *validation);
    check_some_ids(*validation, data.vocab_size);
    data.description += "; evaluated on " + describe(*validation, format);
    data.train = train;
    data.validation = validation;
  }
  return data;
}

/// The token that ends documents, of a tokenizer that is at hand or that made the file.
std::optional<int32_t> end_of_text(const TrainingData& data, const DataConfig& config) {
  if (data.tokenizer) return data.tokenizer->end_of_text();
  const ByteTokenizer bytes;
  const bool made_of_bytes =
      tokenizer_kind(config.tokenizer) == TokenizerKind::byte && data.fingerprint == bytes.fingerprint();
  return made_of_bytes ? bytes.end_of_text() : std::nullopt;
}

/// As rank 0 knows it, which has the tokenizer; all ranks call it.
int32_t shared_end_of_text(Context& ctx, Communicator& world, const TrainingData& data,
                           const DataConfig& config) {
  int64_t id = world.rank() == 0 ? end_of_text(data, config).value_or(-1) : -1;
  world.broadcast(ctx.host_stream(), Tensor::borrow(&id, {1}, DType::i64), 0);
  if (id >= 0 && id < data.vocab_size) return static_cast<int32_t>(id);
  const bool has_file = tokenizer_kind(config.tokenizer) == TokenizerKind::file;
  if (config.text.empty() && !has_file) {
    throw_usage(
        "--data.documents separate: the end-of-text token of {} is known only from its tokenizer: "
        "give its file (--data.tokenizer PATH), or use --data.documents attend",
        config.tokens);
  }
  throw_usage(
      "--data.documents separate: the tokenizer {} has no known end-of-text token to separate "
      "documents by: {}, or use --data.documents attend",
      config.tokenizer,
      has_file ? "name it (--data.end-of-text TOKEN)" : "use --data.tokenizer byte, bpe or a tokenizer file");
}

/// The fingerprint of a tokenizer that lies beside the weights; 0 where there is none that can be read.
uint64_t fingerprint_beside(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return 0;
  try {
    return load_tokenizer(path.string())->fingerprint();
  } catch (const UserError&) {  // of another program, say
    return 0;
  }
}

}  // namespace

void check_tokenizer_of_weights(const TrainingData& data, const std::string& weights) {
  const auto path = std::filesystem::path(weights).parent_path() / "tokenizer.json";
  const uint64_t beside = data.fingerprint == 0 ? 0 : fingerprint_beside(path);
  if (beside == 0 || beside == data.fingerprint) return;
  throw_bad_input(
      "{} was trained with the tokenizer {}, and the data was made with another: their fingerprints "
      "differ ({:016x} and {:016x}); to train these weights on other ids, put them into a directory "
      "without tokenizer.json",
      weights, path.string(), beside, data.fingerprint);
}

TrainingData load_training_data(Context& ctx, Communicator& world, const DataConfig& config,
                                int64_t model_vocab) {
  TrainingData data =
      config.text.empty() ? from_token_files(world, config, model_vocab) : from_text(ctx, world, config);
  if (model_vocab != 0 && model_vocab < data.vocab_size) {
    throw_usage(
        "--model.vocab {} is smaller than the vocabulary of the data, {}: give {} or more, or leave it out",
        model_vocab, data.vocab_size, data.vocab_size);
  }
  if (model_vocab > data.vocab_size) {
    data.description += fmt::format("; {} of {} rows of the embedding (--model.vocab) have no token",
                                    grouped(model_vocab - data.vocab_size), grouped(model_vocab));
  }
  data.vocab_size = std::max(data.vocab_size, model_vocab);
  if (config.documents == DocumentsKind::separate)
    data.end_of_text = shared_end_of_text(ctx, world, data, config);
  return data;
}

}  // namespace trireme::launch

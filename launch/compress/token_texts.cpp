#include "launch/compress/token_texts.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>

#include "launch/checkpoint/agreed.h"
#include "launch/cli/ini_file.h"
#include "launch/cli/options/option_values.h"
#include "launch/export/own_model.h"
#include "launch/report/number_text.h"
#include "models/formats/open_weights.h"
#include "models/inference/generator.h"
#include "runtime/base/error.h"
#include "runtime/base/philox.h"
#include "runtime/data/tokenizer/tokenize.h"
#include "runtime/data/tokens/token_file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

/// Tokens of a text that are kept: many times what a calibration reads.
constexpr int64_t kMostTextTokens = int64_t{1} << 24;
constexpr double kHeldOut = 0.1;
constexpr uint64_t kPlacesKey = 0x63616c69, kFirstTokensKey = 0x66697273;

bool is_text_there(const std::string& file) {
  std::error_code ignored;
  return !file.empty() && fs::is_regular_file(file, ignored);
}

bool is_token_file(const std::string& path) {
  const MappedFile file(path);
  return file.text().starts_with(kTokMagic) || path.ends_with(".bin") || has_llmc_magic(file);
}

std::vector<int32_t> first_ids(const TokenSource& source, int64_t begin, int64_t end) {
  std::vector<int32_t> ids(static_cast<size_t>(std::min(end - begin, kMostTextTokens)));
  if (!ids.empty()) source.read(begin, std::ssize(ids), ids.data());
  return ids;
}

/// Training and validation part of a file, of which the last `fraction` is the latter.
struct TwoParts {
  std::vector<int32_t> train, validation;
};

TwoParts read_two_parts(const std::string& file, double fraction, const Tokenizer* tokenizer) {
  TwoParts parts;
  if (is_token_file(file)) {
    const auto tokens = TokenFile::open(file);
    const int64_t n = tokens->num_tokens(), cut = n - static_cast<int64_t>(static_cast<double>(n) * fraction);
    parts.train = first_ids(*tokens, 0, cut);
    parts.validation = first_ids(*tokens, cut, n);
    return parts;
  }
  if (tokenizer == nullptr)
    throw_usage("{}: no tokenizer lies beside the model: name it (--tokenizer PATH), or give a token file",
                file);
  const auto keep = [](std::vector<int32_t>& into) {
    return [&into](std::span<const int32_t> ids) {
      const auto room = static_cast<size_t>(kMostTextTokens) - into.size();
      const auto some = ids.first(std::min(room, ids.size()));
      into.insert(into.end(), some.begin(), some.end());
    };
  };
  tokenize({.files = {file}}, *tokenizer, fraction, 1, keep(parts.train), keep(parts.validation));
  return parts;
}

/// What a run's config.ini says of its data.
std::map<std::string, std::string> data_of_run(const std::string& model) {
  const WeightPlace place = find_weights(model);
  fs::path run;
  if (place.format == ModelFormat::checkpoint) run = run_of(place.path);
  if (place.format == ModelFormat::own_file) run = fs::absolute(place.path).parent_path();
  std::map<std::string, std::string> data;
  std::error_code ignored;
  if (run.empty() || !fs::exists(run / "config.ini", ignored)) return data;
  for (const Setting& setting : read_ini((run / "config.ini").string()).list) {
    if (setting.key.starts_with("data.")) data[setting.key.substr(5)] = setting.text.value_or("");
  }
  return data;
}

class TextFinder {
 public:
  TextFinder(const CompressArguments& arguments, const ModelFiles& files)
      : arguments_(arguments), tokenizer_(tokenizer_of(files)), data_(data_of_run(files.path)) {}

  TokenTexts find() {
    const std::string& text = arguments_.recipe.calibration.text;
    if (text.empty()) {
      of_run();
    } else {
      take_calibration(text, 0);
    }
    if (!arguments_.measuring.text.empty()) {
      texts_.evaluation = read_two_parts(arguments_.measuring.text, 0, tokenizer_.get()).train;
      texts_.evaluation_from = arguments_.measuring.text;
    } else if (texts_.evaluation.size() < 2 && !texts_.is_empty()) {
      hold_out();
    }
    return std::move(texts_);
  }

 private:
  std::string value(const char* key) const {
    const auto found = data_.find(key);
    return found == data_.end() ? "" : found->second;
  }

  void take_calibration(const std::string& file, double fraction) {
    TwoParts parts = read_two_parts(file, fraction, tokenizer_.get());
    if (parts.train.empty()) throw_bad_input("{} holds no text: there is nothing to calibrate on", file);
    texts_.calibration = std::move(parts.train);
    texts_.calibration_from = file;
    texts_.evaluation = std::move(parts.validation);
    if (!texts_.evaluation.empty()) texts_.evaluation_from = "validation part of " + file;
  }

  void of_run() {
    const std::string file = value("text").empty() ? value("tokens") : value("text");
    if (file.empty()) return;
    if (!is_text_there(file)) {
      texts_.note =
          fmt::format("the run's text {} is not there any more: --calibration.text names another", file);
      return;
    }
    const std::string valid = value("valid-tokens");
    const double fraction = option_values::parse_number<double>(value("valid-fraction")).value_or(0);
    take_calibration(file, is_text_there(valid) ? 0 : fraction);
    if (!is_text_there(valid)) return;
    texts_.evaluation = read_two_parts(valid, 0, tokenizer_.get()).train;
    texts_.evaluation_from = valid;
  }

  void hold_out() {
    const auto kept = static_cast<ptrdiff_t>(kHeldOut * static_cast<double>(texts_.calibration.size()));
    texts_.evaluation.assign(texts_.calibration.end() - kept, texts_.calibration.end());
    texts_.calibration.erase(texts_.calibration.end() - kept, texts_.calibration.end());
    texts_.evaluation_from = "held out of " + texts_.calibration_from;
  }

  const CompressArguments& arguments_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::map<std::string, std::string> data_;
  TokenTexts texts_;
};

void share_text(Communicator& world, std::string& text) {
  const auto stream = cpu::make_compute_stream();
  auto size = static_cast<int64_t>(text.size());
  world.broadcast(*stream, Tensor::borrow(&size, {1}, DType::i64), 0);
  text.resize(static_cast<size_t>(size));
  if (size > 0) world.broadcast(*stream, Tensor::borrow(text.data(), {size}, DType::u8), 0);
}

void share_ids(Communicator& world, std::vector<int32_t>& ids) {
  const auto stream = cpu::make_compute_stream();
  int64_t size = std::ssize(ids);
  world.broadcast(*stream, Tensor::borrow(&size, {1}, DType::i64), 0);
  ids.resize(static_cast<size_t>(size));
  if (size > 0) world.broadcast(*stream, Tensor::borrow(ids.data(), {size}, DType::i32), 0);
}

}  // namespace

TokenTexts find_texts(Communicator& world, const CompressArguments& arguments, const ModelFiles& files) {
  TokenTexts texts;
  together(world, [&] {
    if (world.rank() == 0) texts = TextFinder(arguments, files).find();
  });
  for (std::vector<int32_t>* ids : {&texts.calibration, &texts.evaluation}) share_ids(world, *ids);
  for (std::string* text : {&texts.calibration_from, &texts.evaluation_from, &texts.note})
    share_text(world, *text);
  return texts;
}

TokenTexts write_texts(Context& ctx, InferenceModel& model, const ModelFiles& files,
                       const Calibration& calibration, int64_t seq_len) {
  const int64_t num_held_out = std::max<int64_t>(4, calibration.samples / 8),
                num_texts = calibration.samples + num_held_out;
  const auto tokenizer = tokenizer_of(files);
  const int64_t vocab_size = tokenizer == nullptr
                                 ? files.config.vocab_size
                                 : std::min(files.config.vocab_size, tokenizer->vocab_size());
  constexpr int64_t kAtOnce = 32, kBlock = 32;
  CachedModel cached(ctx, model.parallel(), model.model(),
                     {.num_blocks = kAtOnce * ((seq_len + kBlock) / kBlock), .block_tokens = kBlock});
  Generator generator(ctx, model.parallel(), cached, {.max_sequences = kAtOnce, .vocab_size = vocab_size});
  std::vector<int64_t> numbers;
  std::vector<int32_t> firsts;
  for (int64_t i = 0; i < num_texts; ++i) {
    const auto drawn = philox4x32(kFirstTokensKey + calibration.seed, static_cast<uint64_t>(i), 0);
    firsts.push_back(static_cast<int32_t>(drawn[0] % static_cast<uint32_t>(vocab_size)));
    const SamplingOptions sampling{.temperature = 1, .seed = calibration.seed + static_cast<uint64_t>(i)};
    numbers.push_back(
        generator.add({.prompt = {firsts.back()}, .max_tokens = seq_len - 1, .sampling = sampling}));
  }
  while (generator.step([](const GeneratedToken&) { return false; })) {
  }
  TokenTexts texts;
  texts.is_written = true;
  for (int64_t i = 0; i < num_texts; ++i) {
    auto& into = i < calibration.samples ? texts.calibration : texts.evaluation;
    into.push_back(firsts[static_cast<size_t>(i)]);
    const auto text = generator.text(numbers[static_cast<size_t>(i)]);
    into.insert(into.end(), text.begin(), text.end());
  }
  texts.calibration_from =
      fmt::format("{} that the model wrote itself (arXiv 2305.17888)", counted(calibration.samples, "text"));
  texts.evaluation_from = fmt::format("{} that it wrote besides", counted(num_held_out, "text"));
  return texts;
}

std::vector<std::vector<int32_t>> draw_samples(std::span<const int32_t> ids, const Calibration& calibration,
                                               int64_t seq_len, int64_t vocab_size, const std::string& from) {
  if (std::ssize(ids) < seq_len)
    throw_usage(
        "calibration needs samples of {} tokens, and {} has {}: give a longer text (--calibration.text), or "
        "--calibration.seq-len {}",
        seq_len, from, ids.size(), std::max<int64_t>(1, std::ssize(ids)));
  check_ids(ids, vocab_size, from, 0);
  std::vector<std::vector<int32_t>> samples;
  const auto places = static_cast<uint64_t>(std::ssize(ids) - seq_len + 1);
  for (int64_t i = 0; i < calibration.samples; ++i) {
    const auto drawn = philox4x32(kPlacesKey ^ calibration.seed, static_cast<uint64_t>(i), 0);
    const uint64_t at = (uint64_t{drawn[0]} << 32 | drawn[1]) % places;
    const auto sample = ids.subspan(at, static_cast<size_t>(seq_len));
    samples.emplace_back(sample.begin(), sample.end());
  }
  return samples;
}

std::vector<std::vector<int32_t>> whole_samples(std::span<const int32_t> ids, int64_t seq_len) {
  std::vector<std::vector<int32_t>> samples;
  for (; std::ssize(ids) >= seq_len; ids = ids.subspan(static_cast<size_t>(seq_len))) {
    const auto sample = ids.first(static_cast<size_t>(seq_len));
    samples.emplace_back(sample.begin(), sample.end());
  }
  return samples;
}

}  // namespace trireme::launch

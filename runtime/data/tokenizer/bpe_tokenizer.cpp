#include "runtime/data/tokenizer/bpe_tokenizer.h"

#include <algorithm>
#include <utility>

#include "runtime/base/error.h"
#include "runtime/base/philox.h"
#include "runtime/data/tokenizer/huggingface_json.h"
#include "runtime/data/tokenizer/models/bpe_words.h"

namespace trireme {
namespace {

std::shared_ptr<const WordModel> words_of(const BpeModel& model) {
  std::vector<bool> is_added(model.tokens.size());
  for (const auto& token : model.added) is_added[static_cast<size_t>(token.id)] = true;
  Vocabulary vocabulary;  // of whole words; where merges make them, only what these begin with
  for (size_t id = 0; id < model.tokens.size(); ++id) {
    const std::string& token = model.tokens[id];
    if (!is_added[id] && (model.ignore_merges ? !token.empty() : token.size() == 1))
      vocabulary.emplace(token, static_cast<int32_t>(id));
  }
  PairTable merges(model.merges.size());
  for (size_t rank = 0; rank < model.merges.size(); ++rank) {
    const auto& [left, right, merged] = model.merges[rank];
    merges.insert(left, right, {static_cast<int32_t>(rank), merged});
  }
  BpeOptions options;
  options.over_bytes = true;
  options.ignore_merges = model.ignore_merges;
  return std::make_shared<BpeWords>(std::move(vocabulary), std::move(merges), options);
}

Splitter splitter_of(const BpeModel& model, const Pretokenizer& pretokenizer) {
  // The pretokenizer lives in the tokenizer that owns the splitter.
  return [prefixes = model.add_prefix_space, &pretokenizer](WordView word, const WordSink& sink) {
    std::string prefixed;
    if (prefixes && word.text[0] != ' ') {
      prefixed.append(" ").append(word.text);
      word.text = prefixed;
    }
    pretokenizer.split(word.text, [&](std::string_view piece) { sink({piece}); });
  };
}

}  // namespace

struct BpeTokenizer::Made {
  BpeModel model;
  std::unique_ptr<const Pretokenizer> pretokenizer;
  TokenizerParts parts;

  explicit Made(BpeModel from)
      : model(std::move(from)),
        pretokenizer(std::make_unique<Pretokenizer>(model.patterns, model.drop_gaps)) {
    std::vector<std::pair<std::string, int32_t>> marks;
    for (const auto& token : model.added) marks.emplace_back(token.content, token.id);
    parts.kind = "bpe";
    parts.end_of_text = find_end_of_text(marks, model.end_of_text);
    parts.added = model.added;
    parts.splitter = splitter_of(model, *pretokenizer);
    parts.model = words_of(model);
    parts.tokens = std::exchange(model.tokens, {});
    parts.tokens_are_bytes = true;
    for (const auto& token : model.added) parts.tokens[static_cast<size_t>(token.id)] = token.content;
    parts.decodes_bytes = true;
    parts.begin_ids = model.begin_ids;
    parts.end_ids = model.end_ids;
  }
};

BpeTokenizer::BpeTokenizer(BpeModel model) : BpeTokenizer(Made(std::move(model))) {}

BpeTokenizer::BpeTokenizer(Made made)
    : PipelineTokenizer(std::move(made.parts), ""),
      model_(std::move(made.model)),
      pretokenizer_(std::move(made.pretokenizer)) {}

BpeTokenizer::~BpeTokenizer() = default;

size_t BpeTokenizer::find_cut(std::string_view text, size_t limit) const {
  // Where a token takes blanks, or looks at what is beside it, a line break is no boundary.
  const auto hinders = [](const AddedToken& t) {
    return t.content.find('\n') != std::string::npos || t.lstrip || t.rstrip || t.single_word;
  };
  if (model_.add_prefix_space || std::ranges::any_of(model_.added, hinders)) return text.size();
  return pretokenizer_->find_cut(text, limit);
}

BpeModel BpeTokenizer::whole_model() const {
  BpeModel model = model_;
  for (int32_t id = 0; id < vocab_size(); ++id) model.tokens.emplace_back(token(id));
  for (const auto& token : model.added) model.tokens[static_cast<size_t>(token.id)] = token.content;
  return model;
}

std::string BpeTokenizer::to_json() const { return write_huggingface_json(whole_model()); }

uint64_t BpeTokenizer::fingerprint() const {
  if (model_.post_processor.empty()) return hash_name(to_json());
  BpeModel plain = whole_model();
  plain.post_processor.clear();
  return hash_name(write_huggingface_json(plain));
}

}  // namespace trireme

#include "runtime/data/tokenizer/tokenize.h"

#include <algorithm>
#include <cmath>
#include <exception>

#include "runtime/base/error.h"
#include "runtime/base/parallel_for.h"

namespace trireme {
namespace {

constexpr size_t kPieceBytes = size_t{1} << 18;

// One side of the split: gathers pieces of text, encodes them together, hands the ids on in order.
class Side {
 public:
  Side(const Tokenizer& tokenizer, int num_threads, const TokenSink& sink)
      : tokenizer_(tokenizer), num_threads_(num_threads), sink_(sink) {}

  void add_document(std::string_view text, TextOrigin origin) {
    bool begins = has_documents_;
    has_documents_ = true;
    while (!text.empty()) {
      const size_t cut = tokenizer_.find_cut(text, kPieceBytes);
      pieces_.push_back({std::string(text.substr(0, cut)), origin, begins});
      gathered_ += cut;
      text.remove_prefix(cut);
      origin.offset += cut;
      begins = false;
      if (gathered_ >= kPieceBytes * static_cast<size_t>(4 * num_threads_)) flush();
    }
  }

  void flush() {
    const auto n = static_cast<int64_t>(pieces_.size());
    std::vector<std::vector<int32_t>> ids(pieces_.size());
    std::vector<std::exception_ptr> errors(pieces_.size());  // a body of parallel_for must not throw
    parallel_for(num_threads_, n, 1, [&](int64_t begin, int64_t end) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        try {
          ids[i] = tokenizer_.encode(pieces_[i].text, pieces_[i].origin);
        } catch (...) {
          errors[i] = std::current_exception();
        }
      }
    });
    const auto mark = tokenizer_.end_of_text();
    for (size_t i = 0; i < pieces_.size(); ++i) {
      if (errors[i]) std::rethrow_exception(errors[i]);
      if (pieces_[i].follows_document && mark) send({&*mark, 1});
      send(ids[i]);
    }
    pieces_.clear();
    gathered_ = 0;
  }

  int64_t num_tokens() const { return num_tokens_; }

 private:
  struct Piece {
    std::string text;
    TextOrigin origin;
    bool follows_document;  // the first piece of a document that is not the first
  };

  void send(std::span<const int32_t> ids) {
    num_tokens_ += static_cast<int64_t>(ids.size());
    sink_(ids);
  }

  const Tokenizer& tokenizer_;
  int num_threads_;
  const TokenSink& sink_;
  std::vector<Piece> pieces_;
  size_t gathered_ = 0;
  bool has_documents_ = false;
  int64_t num_tokens_ = 0;
};

// Bytes of `document` that belong to the training side when that side ends at `boundary` of the input.
size_t train_bytes(const Document& document, uint64_t boundary) {
  if (document.input_begin >= boundary) return 0;
  const uint64_t wanted = boundary - document.input_begin;
  if (document.is_line || wanted >= document.text.size()) return document.text.size();
  auto cut = static_cast<size_t>(wanted);
  while (cut < document.text.size() && is_utf8_continuation(document.text[cut])) ++cut;
  return cut;
}

}  // namespace

TokenizeCounts tokenize(const TextInput& input, const Tokenizer& tokenizer, double validation_fraction,
                        int num_threads, const TokenSink& train, const TokenSink& validation) {
  if (!(validation_fraction >= 0 && validation_fraction < 1)) {
    throw_usage("a validation fraction of {} is not possible; it must be at least 0 and less than 1",
                validation_fraction);
  }
  TRIREME_CHECK(num_threads >= 1);
  const auto boundary = static_cast<uint64_t>(
      std::floor(static_cast<double>(input_bytes(input)) * (1.0 - validation_fraction)));
  TokenizeCounts counts;
  Side train_side(tokenizer, num_threads, train), validation_side(tokenizer, num_threads, validation);
  for_each_document(input, [&](const Document& document) {
    const size_t cut = train_bytes(document, boundary);
    const auto rest = document.text.substr(cut);
    if (cut > 0) train_side.add_document(document.text.substr(0, cut), document.origin);
    if (!rest.empty())
      validation_side.add_document(rest, {document.origin.file, document.origin.offset + cut});
    ++counts.documents;
    counts.json_lines += document.is_line ? 1 : 0;
    counts.text_bytes += static_cast<int64_t>(document.text.size());
  });
  train_side.flush();
  validation_side.flush();
  counts.train_tokens = train_side.num_tokens();
  counts.validation_tokens = validation_side.num_tokens();
  return counts;
}

}  // namespace trireme

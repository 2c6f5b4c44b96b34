#include "launch/bench/serving/prompts.h"

#include <array>
#include <iterator>
#include <string_view>

#include <fmt/format.h>

#include "runtime/base/philox.h"

namespace trireme::launch {

namespace {

/// Frequent words, which tokenizers of English have whole.
constexpr std::array<std::string_view, 128> kPromptWords = {
    "the",    "of",      "and",   "to",    "in",      "is",      "that",  "for",    "it",   "as",    "was",
    "with",   "be",      "by",    "on",    "not",     "he",      "his",   "but",    "at",   "are",   "this",
    "have",   "from",    "or",    "had",   "an",      "they",    "which", "one",    "you",  "were",  "all",
    "her",    "she",     "there", "would", "their",   "we",      "him",   "been",   "has",  "when",  "who",
    "will",   "no",      "more",  "if",    "out",     "so",      "up",    "said",   "what", "its",   "about",
    "than",   "into",    "them",  "can",   "only",    "other",   "time",  "new",    "some", "could", "these",
    "two",    "may",     "first", "then",  "do",      "any",     "like",  "my",     "now",  "over",  "such",
    "our",    "man",     "me",    "even",  "most",    "made",    "after", "also",   "did",  "many",  "off",
    "before", "must",    "well",  "back",  "through", "years",   "much",  "where",  "your", "way",   "down",
    "should", "because", "long",  "each",  "just",    "state",   "those", "people", "too",  "how",   "little",
    "good",   "world",   "make",  "very",  "year",    "still",   "see",   "own",    "work", "men",   "day",
    "get",    "here",    "old",   "life",  "both",    "between", "being"};

constexpr uint64_t kSharedStream = ~uint64_t{0};

}  // namespace

std::string prompt_json(const PromptOptions& options, uint64_t index, int64_t tokens) {
  std::string json;
  auto out = std::back_inserter(json);
  json += options.are_ids ? '[' : '"';
  const auto half = static_cast<uint64_t>(options.vocab - options.vocab / 2);
  for (int64_t i = 0; i < tokens; ++i) {
    const uint64_t stream = i < options.shared_prefix ? kSharedStream : index;
    uint32_t drawn = philox4x32(options.seed, static_cast<uint64_t>(i), stream)[0];
    // The first places of its own spell the number, so that no two prompts are alike however small the
    // choice.
    const int64_t own = i - options.shared_prefix;
    if (own >= 0 && own < 4) drawn = static_cast<uint32_t>(index >> (7 * own)) & 127;
    if (options.are_ids) {
      fmt::format_to(out, "{}{}", i == 0 ? "" : ",", options.vocab / 2 + static_cast<int64_t>(drawn % half));
    } else {
      fmt::format_to(out, "{}{}", i == 0 ? "" : " ", kPromptWords[drawn % kPromptWords.size()]);
    }
  }
  json += options.are_ids ? ']' : '"';
  return json;
}

}  // namespace trireme::launch

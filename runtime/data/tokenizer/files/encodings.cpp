#include "runtime/data/tokenizer/files/encodings.h"

#include <fmt/format.h>

#include "runtime/data/tokenizer/pattern/pretokenizer.h"

namespace trireme {
namespace {

// tiktoken's own (openai_public.py): the same matches, with $ at the end of the text alone and without the
// possessive repeats that change no match.
constexpr std::string_view kR50kPattern =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s++\z|\s+(?!\S)|\s)";
constexpr std::string_view kCl100kPattern =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s++\z|\s*[\r\n]|\s+(?!\S)|\s)";
constexpr std::string_view kQwenPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kO200kPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// The first Qwen's qwen.tiktoken: three marks and 205 spare ones behind the ranks.
std::vector<std::pair<std::string, int32_t>> qwen_tokens() {
  constexpr int32_t kRanks = 151643, kSpare = 205;
  std::vector<std::pair<std::string, int32_t>> tokens{
      {"<|endoftext|>", kRanks}, {"<|im_start|>", kRanks + 1}, {"<|im_end|>", kRanks + 2}};
  for (int32_t i = 0; i < kSpare; ++i) tokens.emplace_back(fmt::format("<|extra_{}|>", i), kRanks + 3 + i);
  return tokens;
}

const std::vector<Encoding>& encodings() {
  static const std::vector<Encoding> kAll{
      {"r50k_base", 50256, 50257, std::string(kR50kPattern), {{"<|endoftext|>", 50256}}},
      {"p50k_base", 50280, 50281, std::string(kR50kPattern), {{"<|endoftext|>", 50256}}},
      {"cl100k_base",
       100256,
       100277,
       std::string(kCl100kPattern),
       {{"<|endoftext|>", 100257},
        {"<|fim_prefix|>", 100258},
        {"<|fim_middle|>", 100259},
        {"<|fim_suffix|>", 100260},
        {"<|endofprompt|>", 100276}}},
      {"o200k_base",
       199998,
       200019,
       std::string(kO200kPattern),
       {{"<|endoftext|>", 199999}, {"<|endofprompt|>", 200018}}},
      {"qwen", 151643, 151851, std::string(kQwenPattern), qwen_tokens(), -1, true},
      // Those that all of Llama 3 to 3.3 share; other names of 128,002 to 128,255 differ between them.
      {"llama3",
       128000,
       128256,
       std::string(kLlama3Pattern),
       {{"<|begin_of_text|>", 128000},
        {"<|end_of_text|>", 128001},
        {"<|start_header_id|>", 128006},
        {"<|end_header_id|>", 128007},
        {"<|eot_id|>", 128009}},
       128000}};
  return kAll;
}

}  // namespace

const Encoding* find_encoding(std::string_view name) {
  for (const auto& encoding : encodings()) {
    if (encoding.name == name) return &encoding;
  }
  return nullptr;
}

std::vector<std::string> encoding_names() {
  std::vector<std::string> names;
  for (const auto& encoding : encodings()) names.push_back(encoding.name);
  return names;
}

const std::vector<std::string>& tekken_special_tokens() {
  static const std::vector<std::string> kTokens{"<unk>",
                                                "<s>",
                                                "</s>",
                                                "[INST]",
                                                "[/INST]",
                                                "[AVAILABLE_TOOLS]",
                                                "[/AVAILABLE_TOOLS]",
                                                "[TOOL_RESULTS]",
                                                "[/TOOL_RESULTS]",
                                                "[TOOL_CALLS]",
                                                "[IMG]",
                                                "<pad>",
                                                "[IMG_BREAK]",
                                                "[IMG_END]",
                                                "[PREFIX]",
                                                "[MIDDLE]",
                                                "[SUFFIX]",
                                                "[SYSTEM_PROMPT]",
                                                "[/SYSTEM_PROMPT]",
                                                "[TOOL_CONTENT]"};
  return kTokens;
}

}  // namespace trireme

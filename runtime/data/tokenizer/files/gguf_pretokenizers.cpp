#include "runtime/data/tokenizer/files/gguf_pretokenizers.h"

#include <algorithm>

#include "runtime/data/tokenizer/pattern/pretokenizer.h"
#include "runtime/data/tokenizer/steps/normalizer.h"

namespace trireme {
namespace {

constexpr std::string_view kDigit = R"(\p{N})";
constexpr std::string_view kUpToThreeDigits = R"(\p{N}{1,3})";
constexpr std::string_view kLineBreak = R"([\r\n])";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s)"
    R"(*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N})"
    R"(]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kMiniCpm5 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\)"
    R"(s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L})"
    R"(\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N})"
    R"(]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'r)"
    R"(e|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\)"
    R"(p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+)"
    R"((?!\S)|\s+)";
constexpr std::string_view kDeepSeekLetters =
    R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕ)"
    R"(ἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛ)"
    R"(Ꜣ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)";
constexpr std::string_view kDeepSeekPunctuation = R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)";
constexpr std::string_view kDeepSeekHan = R"([一-龥ࠀ-一가-퟿]+)";
constexpr std::string_view kDeepSeek3Han = R"([一-龥぀-ゟ゠-ヿ]+)";
constexpr std::string_view kDeepSeek3Words =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[)"
    R"(\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kFalconPunctuation = R"([\p{P}$+<=>^~|`]+)";
constexpr std::string_view kDefaultPunctuation = R"([\p{P}$+<=>^~|]+)";
constexpr std::string_view kBloom = R"( ?[^(\s|[.,!?…。，、।۔،])]+)";
constexpr std::string_view kSeedCoder =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s)"
    R"(*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kBailing =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\)"
    R"(n]|\s+(?!\S)|\s+)";
constexpr std::string_view kExaoneMoe =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| )"
    R"(?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kDigitTriples = R"(\d{1,3}(?=(?:\d{3})*\b))";

const std::vector<GgufPretokenizer>& all_pretokenizers() {
  static const std::vector<GgufPretokenizer> kAll{
      {{"gpt-2", "phi-2", "jais", "trillion", "granite-docling", "gigachat", "a.x-4.0", "mellum",
        "modern-bert", "exaone4", "roberta-bpe", "jina-v1-en", "jina-v2-code", "jina-es", "jina-de",
        "jina-v2-es", "jina-v2-de"},
       {kGpt2Pattern}},
      {{"olmo", "mpt"}, {kGpt2Pattern}, false, true},
      {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
        "jina-v5-nano"},
       {kLlama3Pattern},
       true,
       false,
       true},
      {{"glm4", "glm5"}, {kLlama3Pattern}, true},
      {{"dbrx", "smaug-bpe", "chatglm-bpe"}, {kLlama3Pattern}},
      {{"qwen2", "deepseek-r1-qwen", "megrez", "stablelm2"}, {kQwen2}, false, true},
      {{"hunyuan", "solar-open", "grok-2", "kormo", "f2llmv2"}, {kQwen2}},
      {{"qwen35"}, {kQwen35}},
      {{"smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"},
       {kDigit, kGpt2Pattern}},
      {{"command-r"}, {kDigit, kGpt2Pattern}, false, true},
      {{"tekken"}, {kTekken}, true, false, true},
      {{"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"}, {kGpt4o}},
      {{"deepseek-llm"},
       {kLineBreak, kDeepSeekLetters, kDeepSeekPunctuation, R"(\s+$)", kDeepSeekHan, kDigit}},
      {{"deepseek-coder"}, {kLineBreak, R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepSeekHan, kDigit}},
      {{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"},
       {kUpToThreeDigits, kDeepSeek3Han, kDeepSeek3Words}},
      {{"falcon"}, {kFalconPunctuation, kGpt2Pattern, "[0-9][0-9][0-9]"}},
      {{"default"}, {kDefaultPunctuation, kGpt2Pattern, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
      {{"bloom", "poro-chat", "gpt3-finnish"}, {kBloom}},
      {{"viking"}, {kBloom, kDigit}},
      {{"seed-coder"}, {kSeedCoder}},
      {{"bailingmoe", "bailingmoe2", "llada-moe"}, {kBailing}},
      {{"exaone-moe"}, {kExaoneMoe}},
      {{"minicpm5"}, {kUpToThreeDigits, kMiniCpm5}, true},
      {{"superbpe"}, {R"(\p{N}+)", R"((?=(\d{3})+(?!\d)))"}},
      {{"tiny_aya", "cohere2moe"}, {kDigitTriples, kGpt4o}},
  };
  return kAll;
}

// Files spell line breaks as themselves or as escapes.
std::string plain_spelling(std::string_view pattern) {
  return replace_all(replace_all(pattern, "\r", R"(\r)"), "\n", R"(\n)");
}

}  // namespace

std::span<const GgufPretokenizer> gguf_pretokenizers() { return all_pretokenizers(); }

const GgufPretokenizer* find_gguf_pretokenizer(std::string_view name) {
  for (const auto& one : all_pretokenizers()) {
    if (std::ranges::find(one.names, name) != one.names.end()) return &one;
  }
  return nullptr;
}

std::string gguf_pretokenizer_names() {
  std::string names;
  for (const auto& one : all_pretokenizers()) {
    for (const auto& name : one.names) names.append(names.empty() ? "" : ", ").append(name);
  }
  return names;
}

const GgufPretokenizer* match_gguf_pretokenizer(const std::vector<std::string>& patterns, bool ignore_merges,
                                                bool nfc) {
  const auto is_same = [](std::string_view known, const std::string& given) {
    return plain_spelling(known) == plain_spelling(given);
  };
  const GgufPretokenizer* found = nullptr;
  for (const auto& one : all_pretokenizers()) {
    if (one.ignore_merges != ignore_merges || !std::ranges::equal(one.patterns, patterns, is_same)) continue;
    if (one.nfc == nfc) return &one;
    if (!found) found = &one;
  }
  return found;
}

}  // namespace trireme

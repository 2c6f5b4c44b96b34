#include "tests/fuzz/tokenizer_case.h"

#include <cstdlib>
#include <cstring>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/files/base64.h"
#include "runtime/data/tokenizer/files/gguf_tokenizer.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/io/gguf/gguf_writer.h"

namespace trireme::test {
namespace {

constexpr std::string_view kText = "The rowers don't <s> 123\n\n  \u00c9t\u00e9 \u4e16\u754c\U0001F6A2 aaab";

void must(bool condition) {
  if (!condition) std::abort();
}

// What was read encodes and decodes its text, and its saved form gives the same ids; or it is refused.
void use_tokenizer(const Tokenizer& tokenizer) {
  const auto again = read_tokenizer(tokenizer.to_json(), "tokenizer.json");
  must(again->to_json() == tokenizer.to_json());
  try {
    const auto ids = tokenizer.encode_whole(kText);
    for (const int32_t id : ids) must(id >= 0 && id < tokenizer.vocab_size());
    must(again->encode_whole(kText) == ids);
    const std::string text = tokenizer.decode(ids);
    TextStream stream(tokenizer);
    std::string pieces;
    for (const int32_t id : ids) pieces += stream.push(id);
    must(pieces + stream.finish() == text);
  } catch (const UserError& error) {  // a vocabulary without some of the text
    must(error.code() == ExitCode::bad_input);
  }
}

template <class Read>
bool read_and_use_tokenizer(const Read& read) {
  std::unique_ptr<Tokenizer> tokenizer;
  try {
    tokenizer = read();
  } catch (const UserError& error) {
    must(error.code() == ExitCode::bad_input || error.code() == ExitCode::usage);
    return false;
  }
  use_tokenizer(*tokenizer);
  return true;
}

std::string json_file(std::string_view normalizer, std::string_view splitter, std::string_view decoder,
                      std::string_view model) {
  return fmt::format(
      R"({{"version":"1.0","added_tokens":[{{"id":9,"content":"<s>","special":true,"lstrip":true,"normalized":false}},)"
      R"({{"id":12,"content":"don't","special":false,"single_word":true,"normalized":true}}],"normalizer":{},"pre_tokenizer":{},)"
      R"("post_processor":{{"type":"TemplateProcessing","single":[{{"SpecialToken":{{"id":"<s>","type_id":0}}}},{{"Sequence":{{"id":"A","type_id":0}}}}],)"
      R"("special_tokens":{{"<s>":{{"id":"<s>","ids":[9],"tokens":["<s>"]}}}}}},"decoder":{},"model":{}}})",
      normalizer, splitter, decoder, model);
}

std::string field(int number, std::string_view bytes) {
  std::string out{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())};
  return out.append(bytes);
}
std::string number_field(int number, int value) {
  std::string out;
  for (int tag = number << 3;; tag >>= 7) {
    out += static_cast<char>(tag < 128 ? tag : (tag & 127) | 128);
    if (tag < 128) break;
  }
  return out += static_cast<char>(value);
}

// A SentencePiece model of letters, words and bytes.
std::string sentencepiece_file(int type, bool has_bytes) {
  std::string file;
  float score = 0;
  const auto add = [&](std::string_view text, int kind) {
    std::string piece = field(1, text) + '\x15';
    piece.append(reinterpret_cast<const char*>(&score), sizeof score);
    score -= 1;
    file += field(1, piece + number_field(3, kind));
  };
  add("<unk>", 2);
  add("<s>", 3);
  add("</s>", 3);
  add("row", 4);
  for (int b = 0; has_bytes && b < 256; ++b) add(fmt::format("<0x{:02X}>", b), 6);
  for (const char* text :
       {"\u2581", "\u2581t", "he", "\u2581the", "a", "aa", "e", "r", "o", "w", "er", "t", "h"})
    add(text, 1);
  return file + field(2, number_field(3, type) + number_field(35, has_bytes ? 1 : 0)) +
         field(3, number_field(4, 0));
}

}  // namespace

std::vector<std::string> tokenizer_seeds() {
  const char* bpe =
      R"({"type":"BPE","unk_token":"u","byte_fallback":true,"fuse_unk":true,"vocab":{"u":0,"a":1,"b":2,"ab":3,"▁":4,"▁a":5,"aa":6,"<0x41>":7,"t":8},"merges":["a b","▁ a",["a","a"]]})";
  const char* bytes =
      R"({"type":"BPE","ignore_merges":true,"vocab":{"a":0,"b":1,"ab":2,"Ġ":3,"Ġa":4,"aa":5,"t":6,"Ċ":7,"e":8},"merges":["a b","Ġ a","a a"]})";
  const char* pieces =
      R"({"type":"WordPiece","unk_token":"u","continuing_subword_prefix":"##","max_input_chars_per_word":5,"vocab":{"u":0,"a":1,"##a":2,"##b":3,"the":4,"1":5,"##2":6,"ro":7,"##w":8}})";
  const char* unigram =
      R"({"type":"Unigram","unk_id":0,"vocab":[["u",0.0],["▁",-2.5],["a",-3.0],["aa",-3.5],["▁the",-4],["t",-5],["h",-5],["e",-5.5],["r",-6]]})";
  return {
      json_file(
          R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]})",
          "null",
          R"({"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]})",
          bpe),
      json_file(
          R"({"type":"NFKC"})",
          R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}]})",
          R"({"type":"ByteLevel"})", bytes),
      json_file(
          "null",
          R"x({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?i:'s|'t)|\\p{L}+|\\p{N}{1,3}|[^\\s]+|\\s+(?!\\S)"},"behavior":"Removed","invert":true},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]})x",
          R"({"type":"ByteLevel"})", bytes),
      json_file(R"({"type":"BertNormalizer","clean_text":true,"strip_accents":null,"lowercase":true})",
                R"({"type":"BertPreTokenizer"})", R"({"type":"WordPiece","prefix":"##","cleanup":true})",
                pieces),
      json_file(R"({"type":"Lowercase"})",
                R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":true})",
                R"({"type":"Metaspace","replacement":"▁"})", unigram),
      json_file(R"({"type":"Precompiled","precompiled_charsmap":"CAAAAAAAAAAAAAAAQQA="})",
                R"({"type":"Whitespace"})", "null",
                R"({"type":"WordLevel","unk_token":"u","vocab":{"u":0,"the":1,"123":2}})"),
      sentencepiece_file(2, false),
      sentencepiece_file(2, true),
      sentencepiece_file(1, false),
      R"({"config":{"pattern":"\\p{L}+|[^\\p{L}]","default_vocab_size":25,"default_num_special_tokens":21},"vocab":[{"rank":0,"token_bytes":"YQ=="},{"rank":1,"token_bytes":"Yg=="},{"rank":2,"token_bytes":"YWI="},{"rank":3,"token_bytes":"IA=="}]})",
      "IQ== 0\nIg== 1\n",
      "",
      "{}",
      R"({"type":"trireme-tiktoken","version":1,"encoding":"cl100k_base","ranks":"SVE9PSAwCg=="})",
      json_file("null",
                R"({"type":"Split","pattern":{"Regex":"((a{1000}){1000}){1000}"},"behavior":"Isolated"})",
                "null", unigram),
      json_file("null", R"({"type":"Split","pattern":{"Regex":"(a|aa|a*)*\\1b"},"behavior":"Isolated"})",
                "null", unigram),
      json_file(std::string(1000, '['), "null", "null", bpe),
  };
}

std::vector<std::string> gguf_tokenizer_seeds() {
  std::vector<std::string> tokens{"<s>", "</s>", "<unk>", "a", "b", "ab", "\u2581", "\u0120", "the"};
  std::vector<int32_t> types{3, 3, 2, 1, 1, 1, 1, 1, 1};
  const std::vector<float> scores(tokens.size(), -1);
  std::vector<std::string> seeds;
  for (const char* model : {"gpt2", "llama", "t5", "bert"}) {
    seeds.push_back(gguf_head({}, {{"tokenizer.ggml.model", std::string(model)},
                                   {"tokenizer.ggml.pre", std::string("qwen2")},
                                   {"tokenizer.ggml.tokens", tokens},
                                   {"tokenizer.ggml.scores", scores},
                                   {"tokenizer.ggml.token_type", types},
                                   {"tokenizer.ggml.merges", std::vector<std::string>{"a b"}},
                                   {"tokenizer.ggml.bos_token_id", uint32_t{0}},
                                   {"tokenizer.ggml.eos_token_id", uint32_t{1}},
                                   {"tokenizer.ggml.unknown_token_id", uint32_t{2}},
                                   {"tokenizer.ggml.add_bos_token", true}}));
    tokens.back() = "[PAD8]";
    types.back() = 5;
  }
  return seeds;
}

bool run_tokenizer(std::string_view input) {
  return read_and_use_tokenizer([&] { return read_tokenizer(std::string(input), "cl100k_base.tiktoken"); });
}

bool run_gguf_tokenizer(const GgufReader& gguf) {
  return read_and_use_tokenizer([&] { return read_gguf_tokenizer(gguf); });
}

}  // namespace trireme::test

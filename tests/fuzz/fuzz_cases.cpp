#include "tests/fuzz/fuzz_cases.h"

#include <cstdlib>
#include <cstring>

#include <sys/mman.h>
#include <unistd.h>

#include "models/formats/gguf_config.h"
#include "parallel/checkpoint/format/manifest.h"
#include "runtime/base/error.h"
#include "runtime/io/digest/xxh3.h"
#include "runtime/io/gguf/gguf.h"
#include "runtime/io/gguf/gguf_writer.h"
#include "runtime/io/json/utf8.h"
#include "runtime/io/safetensors/safetensors.h"
#include "runtime/io/safetensors/sharded_safetensors.h"
#include "runtime/text/chat/chat_template.h"
#include "tests/fuzz/grammar_case.h"
#include "tests/fuzz/hf_case.h"
#include "tests/fuzz/http_case.h"
#include "tests/fuzz/teacher_case.h"
#include "tests/fuzz/tokenizer_case.h"
#include "tests/models/formats/gguf_cases.h"

namespace trireme::test {

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

/// A file in memory, under a path.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view contents) : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    require(fd_ >= 0);
    require(::write(fd_, contents.data(), contents.size()) == static_cast<ssize_t>(contents.size()));
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return fmt::format("/proc/self/fd/{}", fd_); }

 private:
  int fd_;
};

bool read_safetensors(std::string_view input) {
  const MemoryFile file(input);
  try {
    const SafetensorsReader reader(file.path());
    size_t total = 0;
    for (const auto& [name, tensor] : reader.tensors()) {
      require(tensor.bytes.size() == static_cast<size_t>(tensor.shape.numel()) * size_of(tensor.dtype));
      total += tensor.bytes.size();
      for (const std::byte byte : tensor.bytes) total += byte == std::byte{255} ? 0 : 0;  // within the file
    }
    require(total < input.size());
    for (const auto& [name, offset] : sharding_offsets(reader))
      require(offset.rank() == reader.at(name).shape.rank());
    return true;
  } catch (const UserError&) {
    return false;
  }
}

bool read_hf(std::string_view input) {
  const MemoryFile file(input.starts_with("I") ? input.substr(1) : input);
  return run_hf(input, file.path());
}

/// What was read is written and read the same.
void require_same_head(const GgufReader& reader) {
  std::vector<GgufSpec> specs;
  size_t bytes = 0;
  for (const std::string& name : reader.order()) {
    const GgufTensor& tensor = reader.at(name);
    if (name.size() > 63) return;  // read, but not written
    specs.push_back({name, static_cast<GgufType>(tensor.type->id), tensor.shape});
    bytes += tensor.bytes.size() + static_cast<size_t>(reader.alignment());
  }
  if (bytes > (1u << 20) || reader.alignment() > (1 << 16)) return;  // much padding
  const MemoryFile again(gguf_head(specs, reader.metadata()) + std::string(bytes, 'x'));
  try {
    const GgufReader second(again.path());
    require(second.order() == reader.order());
  } catch (const UserError& error) {
    require(std::string_view(error.what()).find("its tensors end") != std::string_view::npos);
  }
}

/// What a file's metadata describes is a model, or an error of the user's.
void require_sound_model(const GgufReader& reader) {
  try {
    const ModelConfig config = read_gguf_config(reader);
    require(errors_of(config).empty());
    constexpr int64_t kMostLayers = 16, kMostExperts = 64;
    if (config.num_layers > kMostLayers || config.moe.num_experts > kMostExperts) return;
    require(write_gguf_config(config).metadata.size() > 8);
  } catch (const UserError&) {
  }
}

bool read_gguf(std::string_view input) {
  const MemoryFile file(input);
  try {
    const GgufReader reader(file.path());
    size_t total = 0;
    for (const auto& [name, tensor] : reader.tensors()) {
      total += tensor.bytes.size();
      for (const std::byte byte : tensor.bytes) total += byte == std::byte{255} ? 0 : 0;  // within the file
      if (!tensor.type->is_readable || tensor.bytes.empty()) continue;
      const GgufRange last{tensor.rows() - 1, tensor.rows()};
      std::vector<float> values(static_cast<size_t>(tensor.columns() - tensor.columns() / 3));
      reader.read(name, last, GgufRange{tensor.columns() / 3, tensor.columns()}, values);
    }
    require(total < input.size());
    for (const auto& [key, value] : reader.metadata()) require(value_text(value, 40).size() < 1000);
    require_same_head(reader);
    if (reader.find("tokenizer.ggml.model") != nullptr) run_gguf_tokenizer(reader);
    if (reader.find("general.architecture") != nullptr) require_sound_model(reader);
    return true;
  } catch (const UserError&) {
    return false;
  }
}

bool render_template(std::string_view input) {
  const jinja::Limits limits = {.steps = 20'000, .bytes = 1 << 20, .output_bytes = 1 << 16, .nesting = 200};
  ChatInput chat;
  chat.messages = nlohmann::ordered_json::parse(
      R"([{"role":"user","content":"Hi é"},{"role":"assistant","content":null,"tool_calls":[{"id":1,"x":[1.5,true]}]}])");
  chat.add_generation_prompt = true;
  chat.now = std::tm{};
  try {
    const ChatText out = ChatTemplate(input, "template").render(chat, false, limits);
    require(out.text.size() <= 1 << 16 && !find_utf8_error(out.text));
    for (const auto& range : out.generations)
      require(range.begin <= range.end && range.end <= out.text.size());
    return true;
  } catch (const UserError&) {
    return false;
  }
}

bool read_manifest_rest(std::string_view input) {
  const std::string text = fmt::format("{{\"xxh3\":\"{}\",\n{}", to_string(xxh3_128(input)), input);
  try {
    const Manifest manifest = parse_manifest(text, "manifest.json");
    for (const StoredSlice& s : manifest.stored.slices) {
      const StoredFile& file = manifest.stored.files.at(s.file);
      require(fits(s.slice.box, s.slice.shape) && s.slice.bytes() > 0);
      require(s.begin >= file.head_bytes && s.begin + s.slice.bytes() <= file.bytes);
      require(file.name.find('/') == std::string::npos && file.name != "..");
    }
    // What was read is written and read the same.
    const Manifest again = parse_manifest(manifest_text(manifest), "manifest.json");
    require(again.state == manifest.state && again.stored == manifest.stored);
    return true;
  } catch (const UserError&) {
    return false;
  }
}

std::string safetensors(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string text(8, '\0');
  std::memcpy(text.data(), &length, 8);
  return text + header + std::string(data_bytes, 'x');
}

std::vector<std::string> safetensors_seeds() {
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  std::vector<std::string> seeds = {
      safetensors_head({{"a", DType::f32, {2}}, {"b", DType::bf16, {1, 2}}},
                       sharding_metadata({{"a", {3}}, {"b", {0, 4}}})) +
          std::string(12, 'x'),
      "",
      std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10),  // a length that wraps when 8 is added
      std::string("\xf8\xff\xff\xff\xff\xff\xff\xff{}", 10),
      safetensors("{}", 0),
      safetensors("{" + a + "}", 8),
      safetensors("{" + a + "}", 7),
      safetensors("{" + a + "," + a + "}", 8),
      safetensors(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0),
      safetensors(R"({"a":{"dtype":"F32","shape":[0,9223372036854775807,9],"data_offsets":[0,0]}})", 0),
      safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8),
      safetensors(
          R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
          12),
      safetensors(R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,18446744073709551615]}})", 8),
      safetensors(R"({"__metadata__":{"DCP_SHARDING_INFO":"{\"a\":{\"saved_offsets\":[-1]}}"},)" + a + "}",
                  8),
      safetensors(R"({"__metadata__":{"DCP_SHARDING_INFO":"[]"},)" + a + "}", 8),
      safetensors(R"({"__metadata__":{"DCP_SHARDING_INFO":"{\"b\":{}}"},)" + a + "}", 8),
      safetensors(R"({"__metadata__":null,)" + a + "}", 8),
      safetensors("{\"a\":" + std::string(2000, '['), 0),
      safetensors("{\"\xff\xfe\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1),
      safetensors(R"({"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}})", 1),
  };
  return seeds;
}

/// Files with a token table and the keys of these models.
std::vector<std::string> gguf_model_seeds() {
  std::vector<std::string> seeds;
  for (const GgufCase& one : gguf_cases()) {
    const GgufModel model = write_gguf_config(one.config);
    std::vector<GgufSpec> specs = {{"token_embd.weight", GgufType::f32, {one.config.vocab_size, 1}}};
    size_t bytes = static_cast<size_t>(one.config.vocab_size) * sizeof(float);
    for (const auto& [name, factors] : model.tables) {
      specs.push_back({name, GgufType::f32, {std::ssize(factors)}});
      bytes += (factors.size() * sizeof(float) + 31) / 32 * 32;
    }
    seeds.push_back(gguf_head(specs, model.metadata) + std::string(bytes, '\x3f'));
  }
  return seeds;
}

std::vector<std::string> gguf_seeds() {
  const GgufMetadata metadata = {
      {"general.architecture", std::string("llama")}, {"general.alignment", uint32_t{32}},
      {"flags", std::vector<bool>{true, false}},      {"tokens", std::vector<std::string>{"a", "", "\xff"}},
      {"scores", std::vector<float>{1, 2}},           {"n", int64_t{-1}}};
  const std::string head = gguf_head(
      {{"a", GgufType::q8_0, {2, 32}}, {"b", GgufType::q6_k, {256}}, {"c", GgufType::f32, {}}}, metadata);
  const std::string good = head + std::string(96 + 224 + 4, 'x');
  std::vector<std::string> seeds = gguf_model_seeds();
  for (const std::string& seed :
       {good, std::string(), std::string("GGUF"), good.substr(0, 24), good.substr(0, head.size()),
        gguf_head({}, {}), good + "trailing bytes that belong to no tensor"})
    seeds.push_back(seed);
  for (auto& seed : gguf_tokenizer_seeds()) seeds.push_back(std::move(seed));
  for (const size_t place : {4, 8, 16, 24}) {
    for (const uint64_t value : {uint64_t{0}, uint64_t{1} << 61, ~uint64_t{0}}) {
      seeds.push_back(good);
      std::memcpy(seeds.back().data() + place, &value, sizeof value);
    }
  }
  return seeds;
}

std::vector<std::string> template_seeds() {
  return {
      "{%- for m in messages %}{{ '<|' + m['role'] + '|>\n' + (m.content or '') | trim }}{% if loop.last "
      "%}{% break %}{% endif %}{%- endfor %}"
      "{% if add_generation_prompt %}{% generation %}{{ messages | tojson(indent=2) }}{% endgeneration %}{% "
      "endif %}",
      "{% set n = namespace(a=[], b={'c': 1}) %}{% macro f(x, d=1) %}{{ x }}{{ f(x[1:], d + 1) if x else "
      "caller }}{% endmacro %}{{ f('abcé') }}",
      "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list | first | upper "
      "}}{{ 1.5 // 2 ** 3 % 4 - -1 }}",
      "{% raw %}{{ x }}{% endraw %}{#- c -#} {%+ set x %}{{ [1, (2,), {3: 4}][::-1] }}{% endset %}{{ x | "
      "replace('a', 'b') | indent(2) }}",
      "{{ range(9) | batch(2) }}{% call(x) f() %}{% endcall %}{% filter upper %}a{% endfilter %}{% with a = "
      "1 %}{{ a ~ 'é'.title() }}{% endwith %}",
      "{% set n = namespace(t='xx') %}{% for i in range(99) %}{% set n.t = n.t + n.t %}{% endfor %}{{ '%s' % "
      "n.t }}{{ '{}'.format(n) }}",
      "{{ strftime_now('%Y') }}{{ raise_exception('no') }}{{ x.y.z }}{{ 'a' in 'abc' is not none and not [] "
      "== () }}{{ ('<' | safe) + '<' }}",
      "{{ " + std::string(300, '(') + "1" + std::string(300, ')') + " }}",
      "{{ 9223372036854775807 * 2 }}{{ -9223372036854775807 - 1 }}",
      "{%",
      "{{ '\\u12' }}"};
}

std::vector<std::string> manifest_seeds() {
  Manifest m;
  m.state.loss_scaler = LossScalerState{};
  m.state.router_biases = {{"r", {0.5f}}};
  m.state.z_scores = {{"loss", {1, 2, 3}}};
  m.state.config = {{"a", "b"}};
  m.stored.files = {{"rank-00000.safetensors", 40, 8, {}}};
  m.stored.slices = {{{"w", DType::f32, {2, 3}, {{0, 0}, {1, 3}}}, 0, 8, {}},
                     {{"w", DType::f32, {2, 3}, {{1, 0}, {1, 3}}}, 0, 20, {}},
                     {whole_slice("s", DType::f64, {}), 0, 32, {}}};
  std::string good = manifest_text(m);
  good = good.substr(good.find('\n') + 1);
  std::vector<std::string> seeds = {
      good, "", "}", "\"a\":1}", "\"a\":" + std::string(3000, '['), "\"xxh3\":\"\"}"};
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = good;
    const size_t at = changed.find(from);
    require(at != std::string::npos);
    seeds.push_back(changed.replace(at, from.size(), to));
  };
  with("rank-00000.safetensors", "../../etc/passwd.safetensors");
  with("[1,3]", "[9223372036854775807,9223372036854775807]");
  with("[0,0]", "[9223372036854775807,0]");
  with("\"shape\":[2,3]", "\"shape\":[2,3,1,1,1,1]");
  with("\"shape\":[2,3]", "\"shape\":[3037000500,3037000500]");
  with("\"bytes\":40", "\"bytes\":9223372036854775807");
  with("\"head_bytes\":8", "\"head_bytes\":-8");
  with("\"scale\":1.0", "\"scale\":1e999");
  with("\"version\":1", "\"version\":18446744073709551615");
  with("\"step\":0", "\"step\":0,\"step\":1");
  return seeds;
}

}  // namespace

std::vector<FuzzCase> fuzz_cases() {
  return {{"manifest", read_manifest_rest, manifest_seeds()},
          {"safetensors", read_safetensors, safetensors_seeds()},
          {"gguf", read_gguf, gguf_seeds()},
          {"hf", read_hf, hf_seeds()},
          {"http", run_http, http_seeds()},
          {"teacher", read_teacher, teacher_seeds()},
          {"template", render_template, template_seeds()},
          {"grammar", run_grammar, grammar_seeds()},
          {"tokenizer", run_tokenizer, tokenizer_seeds()}};
}

}  // namespace trireme::test

#include "launch/commands/gguf_info.h"

#include <map>

#include <fmt/format.h>

#include "launch/cli/help_text.h"
#include "launch/report/number_text.h"
#include "launch/report/visible_text.h"
#include "runtime/io/gguf/gguf.h"

namespace trireme::launch {

namespace {

constexpr size_t kMostValueText = 70;

struct Total {
  int64_t tensors = 0, elements = 0, bytes = 0;

  void add(const GgufTensor& tensor) {
    ++tensors;
    elements += tensor.shape.numel();
    bytes += std::ssize(tensor.bytes);
  }
};

std::string total_text(const Total& total) {
  return fmt::format("{} in {}, {}", grouped(total.elements), counted(total.tensors, "tensor"),
                     short_bytes(static_cast<double>(total.bytes)));
}

std::string text_or(const GgufReader& file, std::string_view key, std::string_view otherwise) {
  const GgufValue* value = file.find(key);
  const std::string* text = value == nullptr ? nullptr : std::get_if<std::string>(value);
  return text == nullptr ? std::string(otherwise) : visible(*text);
}

std::string summary(const GgufReader& file) {
  Total whole;
  std::map<const GgufTypeInfo*, Total> by_type;
  for (const auto& [name, tensor] : file.tensors()) {
    whole.add(tensor);
    by_type[tensor.type].add(tensor);
  }
  std::vector<HelpLine> lines = {
      {"format", fmt::format("GGUF version {}, alignment {}", file.version(), file.alignment())},
      {"architecture", text_or(file, "general.architecture", "not stated")},
      {"name", text_or(file, "general.name", "not stated")},
      {"parameters", total_text(whole)},
  };
  for (const auto& [type, total] : by_type) {
    lines.emplace_back("of type " + std::string(type->name),
                       total_text(total) + (type->is_readable ? "" : " (listed, but cannot be read)"));
  }
  return help_lines(lines);
}

std::string metadata_table(const GgufReader& file) {
  std::string text = fmt::format("\n  {:<44} {:<14} {}\n", "metadata", "type", "value");
  for (const auto& [key, value] : file.metadata()) {
    text += fmt::format("  {:<44} {:<14} {}\n", visible(key), type_text(value),
                        value_text(value, kMostValueText));
  }
  return text;
}

std::string tensor_table(const GgufReader& file) {
  std::string text = fmt::format("\n  {:<40} {:<8} {:>20} {:>18}\n", "tensor", "type", "shape", "bytes");
  for (const std::string& name : file.order()) {
    const GgufTensor& tensor = file.at(name);
    text += fmt::format("  {:<40} {:<8} {:>20} {:>18}\n", visible(name), tensor.type->name,
                        to_string(tensor.shape), grouped(std::ssize(tensor.bytes)));
  }
  return text;
}

}  // namespace

std::string gguf_info(const std::string& path, bool with_tensors) {
  const GgufReader file(path);
  return summary(file) + metadata_table(file) + (with_tensors ? tensor_table(file) : "");
}

}  // namespace trireme::launch

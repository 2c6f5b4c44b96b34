// What the scripts beside this ask of the libraries (built by --target interop_tool):
//
//   interop_tool gguf-values FILE TENSOR     the tensor as fp32, little endian, on standard output
//   interop_tool gguf-shards FILE TENSOR     the same, put together of parts of rows and columns
//   interop_tool gguf-copy FILE OUT TYPE     all metadata, and the tensors as TYPE (f32, f16, bf16, q8_0,
//   q4_0)
//                                            where their rows are whole blocks, as f32 elsewhere
//   interop_tool chat                        for each line of JSON on standard input, {"template": ...,
//                                            "variables": ..., "time": [year, month, ...]}, a line with
//                                            {"text": ..., "generations": ...} or {"error": ...}
//   interop_tool hf-model DIR OUT            what the model in DIR computes with DIR/reference.safetensors
//                                            (models/tiny_models.py): logits, loss, and gradients as
//                                            grad/NAME
//   interop_tool logits MODEL IN OUT exact|int8 [top]
//                                            logits of sequences of tokens over a cache (cached_logits.h)
#include <cstdio>
#include <iostream>
#include <string>

#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/io/gguf/gguf.h"
#include "runtime/io/gguf/gguf_writer.h"
#include "runtime/text/chat/chat_template.h"
#include "tests/interop/cached_logits.h"
#include "tests/support/hf_model_run.h"

namespace trireme {
namespace {

using nlohmann::ordered_json;

std::vector<float> values_of(const GgufReader& file, const std::string& name) {
  const GgufTensor& tensor = file.at(name);
  std::vector<float> values(static_cast<size_t>(tensor.shape.numel()));
  file.read(name, {0, tensor.rows()}, std::nullopt, values, 2);
  return values;
}

/// Rows and columns cut at odd places.
std::vector<float> values_of_shards(const GgufReader& file, const std::string& name) {
  const GgufTensor& tensor = file.at(name);
  const int64_t rows = tensor.rows(), columns = tensor.columns();
  std::vector<float> values(static_cast<size_t>(rows * columns)), part;
  const int64_t row_cuts[] = {0, rows / 3, rows}, column_cuts[] = {0, columns / 5, columns / 2 + 1, columns};
  for (int r = 0; r < 2; ++r) {
    for (int c = 0; c < 3; ++c) {
      const GgufRange some_rows{row_cuts[r], row_cuts[r + 1]};
      const GgufRange some{column_cuts[c], std::max(column_cuts[c], column_cuts[c + 1])};
      part.resize(static_cast<size_t>(some_rows.size() * some.size()));
      file.read(name, some_rows, some, part);
      for (int64_t row = 0; row < some_rows.size(); ++row) {
        std::copy_n(part.begin() + row * some.size(), some.size(),
                    values.begin() + (some_rows.begin + row) * columns + some.begin);
      }
    }
  }
  return values;
}

void copy_file(const GgufReader& file, const std::string& out, const std::string& type_name) {
  GgufType type = GgufType::f32;
  for (const auto& [name, known] : {std::pair<std::string, GgufType>{"f32", GgufType::f32},
                                    {"f16", GgufType::f16},
                                    {"bf16", GgufType::bf16},
                                    {"q8_0", GgufType::q8_0},
                                    {"q4_0", GgufType::q4_0}}) {
    if (name == type_name) type = known;
  }
  std::vector<GgufSpec> specs;
  for (const std::string& name : file.order()) {
    const GgufTensor& tensor = file.at(name);
    const bool fits = tensor.shape.rank() > 1 && tensor.columns() % info_of(type).block_elements == 0;
    specs.push_back({name, fits ? type : GgufType::f32, tensor.shape});
  }
  GgufWriter writer(out, specs, file.metadata());
  for (const GgufSpec& spec : specs) writer.write_values(spec.name, values_of(file, spec.name));
  writer.commit();
}

ordered_json chat_line(const ordered_json& line) {
  try {
    ChatInput input;
    input.variables = line.at("variables");
    for (const auto& [key, place] : {std::pair<const char*, ordered_json*>{"messages", &input.messages},
                                     {"tools", &input.tools},
                                     {"documents", &input.documents}}) {
      if (input.variables.contains(key)) *place = input.variables.at(key);
    }
    input.add_generation_prompt = input.variables.value("add_generation_prompt", false);
    std::tm time{};
    const auto& parts = line.at("time");
    time.tm_year = parts.at(0).get<int>() - 1900, time.tm_mon = parts.at(1).get<int>() - 1,
    time.tm_mday = parts.at(2).get<int>();
    time.tm_hour = parts.at(3).get<int>(), time.tm_min = parts.at(4).get<int>(),
    time.tm_sec = parts.at(5).get<int>();
    std::mktime(&time);
    input.now = time;
    const ChatText text = ChatTemplate(line.at("template").get<std::string>(), "template").render(input);
    ordered_json spans = ordered_json::array();
    for (const auto& range : text.generations) spans.push_back({range.begin, range.end});
    return {{"text", text.text}, {"generations", spans}};
  } catch (const Error& error) {
    return {{"error", error.what()}};
  }
}

void run_chat() {
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << chat_line(ordered_json::parse(line)).dump() << std::endl;
  }
}

void write_model_run(const std::string& directory, const std::string& out) {
  const SafetensorsReader reference(directory + "/reference.safetensors");
  Context ctx;
  test::HfModelRun run = test::run_hf_model(ctx, *make_self_communicator(), {}, directory, reference);
  std::map<std::string, std::vector<float>> tensors = {{"logits", std::move(run.logits)},
                                                       {"loss", {static_cast<float>(run.loss)}}};
  for (auto& [name, values] : run.gradients) tensors["grad/" + name] = std::move(values);
  std::vector<TensorSpec> specs;
  for (const auto& [name, values] : tensors) {
    specs.push_back({name, DType::f32, {static_cast<int64_t>(values.size())}});
  }
  SafetensorsWriter writer(out, specs);
  for (const auto& [name, values] : tensors) writer.write(name, std::as_bytes(std::span(values)));
  writer.commit();
}

int run(const std::vector<std::string>& arguments) {
  const std::string command = arguments.empty() ? "" : arguments[0];
  if (command == "chat") {
    run_chat();
  } else if ((command == "gguf-values" || command == "gguf-shards") && arguments.size() == 3) {
    const GgufReader file(arguments[1]);
    const std::vector<float> values =
        command == "gguf-values" ? values_of(file, arguments[2]) : values_of_shards(file, arguments[2]);
    std::fwrite(values.data(), sizeof(float), values.size(), stdout);
  } else if (command == "gguf-copy" && arguments.size() == 4) {
    copy_file(GgufReader(arguments[1]), arguments[2], arguments[3]);
  } else if (command == "hf-model" && arguments.size() == 3) {
    write_model_run(arguments[1], arguments[2]);
  } else if (command == "logits" && (arguments.size() == 5 || arguments.size() == 6)) {
    write_cached_logits(arguments[1], arguments[2], arguments[3], arguments[4] == "exact",
                        arguments.size() == 6);
  } else {
    std::cerr << "usage: interop_tool gguf-values|gguf-shards|gguf-copy|chat|hf-model|logits ...\n";
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace trireme

int main(int count, char** arguments) {
  try {
    return trireme::run({arguments + 1, arguments + count});
  } catch (const trireme::Error& error) {
    std::cerr << error.what() << "\n";
    return static_cast<int>(error.code());
  }
}

#include "launch/serve/protocol/api_error.h"

#include "launch/serve/protocol/json_text.h"

namespace trireme::launch {

std::string json_of(const ApiError& error) {
  std::string out = R"({"error":{"message":)";
  append_json_string(out, error.message);
  out += R"(,"type":)";
  append_json_string(out, error.type);
  for (const auto& [name, value] : {std::pair{"param", &error.param}, {"code", &error.code}}) {
    out += fmt::format(R"(,"{}":)", name);
    value->empty() ? void(out += "null") : append_json_string(out, *value);
  }
  return out += "}}";
}

}  // namespace trireme::launch

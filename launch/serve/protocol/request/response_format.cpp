#include "launch/serve/protocol/request/response_format.h"

#include <array>

#include "launch/serve/protocol/api_error.h"
#include "runtime/base/error.h"

namespace trireme::launch {
namespace {

using nlohmann::ordered_json;
constexpr const char* kField = "response_format";

std::shared_ptr<const ByteGrammar> read_schema(const FieldReader& format, GrammarStore& grammars) {
  const ordered_json* described = format.object("json_schema");
  if (described == nullptr)
    refuse(kField, "\"response_format\" is of type \"json_schema\" without \"json_schema\"");
  constexpr std::array<std::string_view, 4> kMembers{"name", "description", "schema", "strict"};
  check_members(*described, "response_format.json_schema.", kMembers);
  const FieldReader fields(*described, "response_format.json_schema.");
  // Names and descriptions are for the client; texts keep to the schema, strict or not.
  if (!fields.string("name")) refuse(kField, "\"response_format.json_schema.name\" is missing");
  fields.string("description");
  fields.boolean("strict", false);
  const ordered_json* schema = fields.find("schema");
  if (schema == nullptr) return grammars.of_objects();
  try {
    return grammars.of_schema(*schema);
  } catch (const UserError& error) {
    refuse(kField, "\"response_format.json_schema.schema\": {}", error.what());
  }
}

}  // namespace

std::shared_ptr<const ByteGrammar> read_response_format(const FieldReader& fields, const ServedModel& model) {
  const ordered_json* value = fields.object(kField);
  if (value == nullptr) return nullptr;
  const FieldReader format(*value, "response_format.");
  const std::string type = format.string("type").value_or("");
  if (type != "text" && type != "json_object" && type != "json_schema") {
    refuse(kField, "\"response_format.type\" is {}; allowed: \"text\", \"json_object\", \"json_schema\"",
           type.empty() ? "missing" : shown_value(type));
  }
  constexpr std::array<std::string_view, 2> kMembers{"type", "json_schema"};
  check_members(*value, "response_format.", std::span(kMembers).first(type == "json_schema" ? 2 : 1));
  if (type == "text") return nullptr;
  if (model.masks == nullptr || model.end_tokens.empty()) {
    refuse(kField, "\"response_format.type\" is \"{}\", but this model's {}", type,
           model.masks == nullptr ? "tokens are not bytes of text" : "texts have no end token");
  }
  for (const char* name : {"ignore_eos", "min_tokens"}) {
    if (fields.has(name) && *fields.find(name) != false && *fields.find(name) != 0)
      refuse(name, "\"{}\" does not go with \"response_format\": the text ends where the JSON does", name);
  }
  return type == "json_object" ? model.grammars->of_objects() : read_schema(format, *model.grammars);
}

}  // namespace trireme::launch

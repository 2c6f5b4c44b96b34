#include "launch/serve/protocol/openai_api.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <utility>

#include "launch/process/build_info.h"
#include "launch/serve/protocol/access.h"
#include "launch/serve/protocol/api_error.h"
#include "launch/serve/protocol/counted_reply.h"
#include "launch/serve/protocol/json_text.h"
#include "launch/serve/protocol/model_pages.h"
#include "launch/serve/protocol/reply/completion.h"
#include "launch/serve/protocol/request/body_json.h"
#include "runtime/base/error.h"

namespace trireme::launch {
namespace {

constexpr std::string_view kJson = "application/json";

struct Page {
  std::string_view method, path;
  bool is_open = false;  ///< without a key: says nothing of texts, and monitors ask for it
};
constexpr std::array<Page, 10> kPages{{{"GET", "/v1/models"},
                                       {"POST", "/v1/completions"},
                                       {"POST", "/v1/chat/completions"},
                                       {"POST", "/tokenize"},
                                       {"POST", "/detokenize"},
                                       {"GET", "/tokenizer_info"},
                                       {"GET", "/health", true},
                                       {"GET", "/metrics", true},
                                       {"GET", "/version", true},
                                       {"GET", "/v1/models/{model}"}}};
constexpr std::string_view kModels = "/v1/models/";

const Page* find_page(std::string_view path) {
  if (path.starts_with(kModels)) return &kPages.back();
  const auto at = std::ranges::find(kPages, path, &Page::path);
  return at == kPages.end() ? nullptr : &*at;
}

[[noreturn]] void refuse_path() {
  std::string list;
  for (const Page& page : kPages)
    list += fmt::format("{}{} {}", list.empty() ? "" : ", ", page.method, page.path);
  throw ApiError{.status = 404, .message = "there is no such page; there are: " + list, .code = "not_found"};
}

void check_access(const Page& page, const HttpRequest& request, const std::vector<std::string>& keys) {
  if (page.is_open || has_access(request.header("authorization"), keys)) return;
  throw ApiError{.status = 401,
                 .message = "this server asks for a key: \"Authorization: Bearer KEY\"",
                 .type = "authentication_error",
                 .code = "invalid_api_key",
                 .headers = {{"WWW-Authenticate", "Bearer"}}};
}

// To HEAD, which balancers of load ask with, the server sends the head of what GET answers.
void check_method(const Page& page, const HttpRequest& request) {
  const bool is_read = page.method == "GET";
  if (request.method == page.method || (is_read && request.method == "HEAD")) return;
  const std::string allowed = is_read ? "GET, HEAD" : std::string(page.method);
  throw ApiError{.status = 405,
                 .message = fmt::format("{} takes {}", page.path, allowed),
                 .code = "method_not_allowed",
                 .headers = {{"Allow", allowed}}};
}

// A page in a browser cannot send this type to another site without being asked first, so none can use a
// server on its reader's machine.
void check_content_type(const HttpRequest& request) {
  std::string type(request.header("content-type").substr(0, kJson.size() + 1));
  std::ranges::transform(type, type.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c; });
  if (type.starts_with(kJson) && (type.size() == kJson.size() || type.back() == ';' || type.back() == ' '))
    return;
  throw ApiError{.status = 415,
                 .message = "the body is of another type; send JSON with \"Content-Type: application/json\"",
                 .code = "unsupported_media_type"};
}

std::string health_page(const EngineState& state) {
  return state.is_ready ? R"({"status":"ok"})" : R"({"status":)" + json_string(state.trouble) + "}";
}

}  // namespace

OpenAiApi::OpenAiApi(ServedModel model, ApiLimits limits, std::vector<std::string> api_keys,
                     TextEngine& engine, ServingMetrics& metrics)
    : model_(std::move(model)),
      limits_(limits),
      api_keys_(std::move(api_keys)),
      engine_(engine),
      metrics_(metrics),
      names_(std::make_unique<TokenNames>(*model_.tokenizer)),
      fingerprint_("trireme-" + build_info().version) {
  std::erase_if(model_.end_tokens, [&](int32_t token) { return token < 0 || token >= model_.vocab_size; });
}

OpenAiApi::~OpenAiApi() = default;

void OpenAiApi::handle(HttpRequest request, std::shared_ptr<HttpReply> reply) {
  const Page* page = find_page(request.path);
  const bool is_usual = request.method == "GET" || request.method == "HEAD" || request.method == "POST";
  const auto counted = std::make_shared<CountedReply>(
      std::move(reply), metrics_, is_usual ? request.method : "other",
      std::string(page == nullptr ? "other" : page->path), request_id_of(request));
  try {
    if (page == nullptr) refuse_path();
    check_access(*page, request, api_keys_);
    check_method(*page, request);
    if (request.method == "POST") check_content_type(request);
    answer(request, counted);
  } catch (const ApiError& error) {
    counted->send(error.status, kJson, json_of(error), error.headers);
  } catch (const UserError& error) {
    counted->send(400, kJson, json_of(ApiError{.message = error.what()}));
  }
}

void OpenAiApi::answer(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  const std::string& path = request.path;
  const auto body = [&] { return parse_body(request.body); };
  const auto send = [&](std::string page) { reply->send(200, kJson, std::move(page)); };
  if (path == "/v1/completions") return complete(request, false, reply);
  if (path == "/v1/chat/completions") return complete(request, true, reply);
  if (path == "/v1/models") return send(models_page(model_));
  if (path == "/tokenize") return send(tokenize_page(body(), model_, *names_));
  if (path == "/detokenize") return send(detokenize_page(body(), model_));
  if (path == "/tokenizer_info") return send(tokenizer_info_page(model_));
  if (path == "/version") return send(R"({"version":)" + json_string(build_info().version) + "}");
  if (path == "/metrics")
    return reply->send(200, "text/plain; version=0.0.4; charset=utf-8", metrics_.prometheus(engine_.state()));
  if (path == "/health") {
    const EngineState state = engine_.state();
    return reply->send(state.is_ready ? 200 : 503, kJson, health_page(state));
  }
  nlohmann::ordered_json named;
  named["model"] = path.substr(kModels.size());
  check_model(named, model_);
  send(model_page(model_));
}

void OpenAiApi::complete(const HttpRequest& request, bool is_chat, const std::shared_ptr<HttpReply>& reply) {
  const nlohmann::ordered_json body = parse_body(request.body);
  const ApiRequest asked =
      is_chat ? read_chat_request(body, model_, limits_) : read_completion_request(body, model_, limits_);
  std::vector<ServedText> texts = texts_of(asked, model_, random_number());
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  CompletionHead head{(is_chat ? "chatcmpl-" : "cmpl-") + random_id(),
                      std::chrono::duration_cast<std::chrono::seconds>(now).count(), model_.name,
                      fingerprint_};
  const auto make = asked.reply.streams ? streamed_completion : whole_completion;
  const auto completion = make(asked, std::move(head), *model_.tokenizer, *names_, reply);
  for (size_t i = 0; i < texts.size(); ++i) texts[i].sink = completion->sink(static_cast<int64_t>(i));
  const Submission submission = engine_.submit(std::move(texts));
  if (submission.is_accepted) {
    const auto cancel = [&engine = engine_, ticket = submission.ticket] { engine.cancel(ticket); };
    completion->when_failed(cancel);
    reply->on_gone(cancel);
    return;
  }
  const EngineState state = engine_.state();
  const auto seconds = static_cast<int64_t>(std::ceil(std::max(1.0, submission.retry_after_seconds)));
  if (state.is_ready) metrics_.refused();
  throw ApiError{.status = state.is_ready ? 429 : 503,
                 .message = submission.refusal,
                 .type = state.is_ready ? "rate_limit_error" : "server_error",
                 .code = state.is_ready ? "too_many_requests" : "unavailable",
                 .headers = {{"Retry-After", std::to_string(seconds)}}};
}

}  // namespace trireme::launch

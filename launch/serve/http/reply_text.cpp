#include "launch/serve/http/reply_text.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace trireme::launch {

namespace {

std::string_view reason_phrase(int status) {
  constexpr std::pair<int, std::string_view> phrases[] = {{200, "OK"},
                                                          {201, "Created"},
                                                          {202, "Accepted"},
                                                          {204, "No Content"},
                                                          {304, "Not Modified"},
                                                          {400, "Bad Request"},
                                                          {401, "Unauthorized"},
                                                          {403, "Forbidden"},
                                                          {404, "Not Found"},
                                                          {405, "Method Not Allowed"},
                                                          {406, "Not Acceptable"},
                                                          {408, "Request Timeout"},
                                                          {409, "Conflict"},
                                                          {411, "Length Required"},
                                                          {413, "Content Too Large"},
                                                          {414, "URI Too Long"},
                                                          {415, "Unsupported Media Type"},
                                                          {417, "Expectation Failed"},
                                                          {422, "Unprocessable Content"},
                                                          {429, "Too Many Requests"},
                                                          {431, "Request Header Fields Too Large"},
                                                          {500, "Internal Server Error"},
                                                          {501, "Not Implemented"},
                                                          {503, "Service Unavailable"},
                                                          {504, "Gateway Timeout"},
                                                          {505, "HTTP Version Not Supported"}};
  const auto* found = std::ranges::find(phrases, status, &std::pair<int, std::string_view>::first);
  return found == std::end(phrases) ? "Status" : found->second;
}

/// As RFC 9110, 5.6.7, has it, whatever the locale is.
std::string http_date() {
  constexpr std::array days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                              "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t now = std::time(nullptr);
  std::tm t{};
  gmtime_r(&now, &t);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", days[static_cast<size_t>(t.tm_wday)], t.tm_mday,
                     months[static_cast<size_t>(t.tm_mon)], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

bool is_header_name(std::string_view name) {
  const auto is_fine = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  return !name.empty() && std::ranges::all_of(name, is_fine);
}

std::string header_line(std::string_view value) {
  std::string line(value);
  const auto breaks = [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; };
  std::ranges::replace_if(line, breaks, ' ');
  return line;
}

}  // namespace

std::string reply_head(const ReplyTerms& terms, int status, std::string_view content_type,
                       const HttpReply::Headers& headers, std::optional<size_t> length) {
  std::string head =
      fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", status, reason_phrase(status), http_date());
  if (!content_type.empty()) head += fmt::format("Content-Type: {}\r\n", header_line(content_type));
  const bool has_no_body = status == 204 || status == 304;
  if (length && !has_no_body) head += fmt::format("Content-Length: {}\r\n", *length);
  if (!length && !has_no_body && terms.is_http11) head += "Transfer-Encoding: chunked\r\n";
  if (!terms.keeps_alive) head += "Connection: close\r\n";
  if (terms.keeps_alive && !terms.is_http11) head += "Connection: keep-alive\r\n";
  for (const auto& [name, value] : headers) {
    if (is_header_name(name)) head += fmt::format("{}: {}\r\n", name, header_line(value));
  }
  return head += "\r\n";
}

void append_chunk(std::string& out, std::string_view piece) {
  if (piece.empty()) return;
  fmt::format_to(std::back_inserter(out), "{:x}\r\n", piece.size());
  out += piece;
  out += "\r\n";
}

std::string error_body(int status, std::string_view message) {
  std::string text;
  for (const char c : message) {
    if (c == '"' || c == '\\') text += '\\';
    text += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return fmt::format(R"({{"error":{{"message":"{}","type":"{}","param":null,"code":null}}}})", text,
                     status >= 500 ? "server_error" : "invalid_request_error");
}

}  // namespace trireme::launch

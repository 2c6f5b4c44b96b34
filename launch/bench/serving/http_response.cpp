#include "launch/bench/serving/http_response.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include <fmt/format.h>

namespace trireme::launch {

namespace {

constexpr size_t kLongestLine = 64 << 10;

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

/// -1: not a number of that base that begins the text.
int64_t leading_number(std::string_view text, int base) {
  int64_t number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return error == std::errc() && number >= 0 ? number : -1;
}

}  // namespace

void HttpResponseReader::fail(std::string why) {
  trouble_ = std::move(why);
  keeps_alive_ = false;
  place_ = Place::end;
}

void HttpResponseReader::feed(std::string_view bytes) {
  while (!bytes.empty() && place_ != Place::end) {
    if (place_ == Place::body_to_close) {
      on_body_(bytes);
      return;
    }
    if (place_ == Place::body || place_ == Place::chunk) {
      const size_t size = std::min(bytes.size(), static_cast<size_t>(left_));
      on_body_(bytes.substr(0, size));
      bytes.remove_prefix(size);
      left_ -= static_cast<int64_t>(size);
      if (left_ == 0) place_ = place_ == Place::body ? Place::end : Place::chunk_end;
      continue;
    }
    const size_t end = bytes.find('\n');
    line_ += bytes.substr(0, end);
    if (line_.size() > kLongestLine) return fail("a line of the answer's head does not end");
    if (end == std::string_view::npos) return;
    bytes.remove_prefix(end + 1);
    if (!line_.empty() && line_.back() == '\r') line_.pop_back();
    take_line();
    line_.clear();
  }
}

void HttpResponseReader::take_line() {
  switch (place_) {
    case Place::status_line:
      return take_status(line_);
    case Place::headers:
      return line_.empty() ? begin_body() : take_header(line_);
    case Place::chunk_size:
      left_ = leading_number(line_, 16);
      if (left_ < 0) return fail(fmt::format("'{}' is no size of a chunk", line_.substr(0, 40)));
      place_ = left_ > 0 ? Place::chunk : Place::trailers;
      return;
    case Place::chunk_end:
      place_ = Place::chunk_size;
      if (!line_.empty()) fail("a chunk is longer than its size");
      return;
    case Place::trailers:
      if (line_.empty()) place_ = Place::end;
      return;
    default:
      return;
  }
}

void HttpResponseReader::take_status(std::string_view line) {
  const bool is_http = line.starts_with("HTTP/1.") && line.size() >= 12;
  status_ = is_http ? static_cast<int>(leading_number(line.substr(9, 3), 10)) : -1;
  if (status_ < 100) {
    status_ = 0;
    return fail(fmt::format("'{}' is no answer of HTTP/1.1", line.substr(0, 40)));
  }
  keeps_alive_ = !line.starts_with("HTTP/1.0");
  place_ = Place::headers;
}

void HttpResponseReader::take_header(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return fail(fmt::format("'{}' is no header", line.substr(0, 40)));
  const std::string name = lower(line.substr(0, colon)), value = lower(trimmed(line.substr(colon + 1)));
  if (name == "content-length") left_ = leading_number(value, 10);
  if (name == "transfer-encoding") is_chunked_ = value.find("chunked") != std::string::npos;
  if (name == "connection") keeps_alive_ = value.find("close") == std::string::npos;
  if (name == "retry-after")
    retry_after_ = static_cast<double>(std::max<int64_t>(0, leading_number(value, 10)));
}

void HttpResponseReader::begin_body() {
  if (status_ / 100 == 1) {  // "continue": the answer follows
    place_ = Place::status_line;
    status_ = 0;
  } else if (is_chunked_) {
    place_ = Place::chunk_size;
  } else if (left_ >= 0) {
    place_ = left_ > 0 ? Place::body : Place::end;
  } else {
    keeps_alive_ = false;
    place_ = Place::body_to_close;
  }
}

void HttpResponseReader::close() {
  keeps_alive_ = false;
  if (place_ == Place::body_to_close) place_ = Place::end;
  if (place_ == Place::end) return;
  fail(status_ == 0 ? "the connection was closed without an answer"
                    : "the connection was closed within the answer");
}

}  // namespace trireme::launch

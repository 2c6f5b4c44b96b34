#include "launch/serve/http/body_reader.h"

#include <algorithm>
#include <charconv>

namespace trireme::launch {

namespace {

constexpr std::string_view line_end = "\r\n";

}  // namespace

BodyReader::BodyReader(std::optional<uint64_t> length, size_t body_bytes, size_t line_bytes)
    : body_bytes_(body_bytes), line_bytes_(line_bytes), is_chunked_(!length), part_(Part::size_line) {
  if (is_chunked_) return;
  missing_ = *length;
  part_ = missing_ == 0 ? Part::end : Part::data;
}

BodyReader::State BodyReader::read(std::string& buffer) {
  size_t used = 0;
  State state = State::needs_bytes;
  while (part_ != Part::end) {
    size_t part = 0;
    state = read_part(std::string_view(buffer).substr(used), part);
    if (state != State::complete) break;
    used += part;
  }
  buffer.erase(0, used);
  return part_ == Part::end ? State::complete : state;
}

/// `complete`: something was used, and more may follow.
BodyReader::State BodyReader::read_part(std::string_view rest, size_t& used) {
  if (part_ == Part::data) {
    used = static_cast<size_t>(std::min<uint64_t>(missing_, rest.size()));
    if (used == 0) return State::needs_bytes;
    body_ += rest.substr(0, used);
    missing_ -= used;
    if (missing_ == 0) part_ = is_chunked_ ? Part::end_of_data : Part::end;
    return State::complete;
  }
  if (part_ == Part::end_of_data) {
    if (!line_end.starts_with(rest.substr(0, line_end.size()))) return State::malformed;
    if (rest.size() < line_end.size()) return State::needs_bytes;
    used = line_end.size();
    part_ = Part::size_line;
    return State::complete;
  }
  std::string_view line;
  const State state = read_line(rest, line);
  if (state != State::complete) return state;
  used = line.size() + line_end.size();
  if (part_ == Part::size_line) return begin_chunk(line);
  trailer_bytes_ += line.size();
  if (trailer_bytes_ > line_bytes_) return State::long_line;
  if (line.empty()) part_ = Part::end;
  return State::complete;
}

BodyReader::State BodyReader::read_line(std::string_view rest, std::string_view& line) const {
  const size_t end = rest.find(line_end);
  if (end == std::string_view::npos)
    return rest.size() >= line_bytes_ + line_end.size() ? State::long_line : State::needs_bytes;
  line = rest.substr(0, end);
  return end > line_bytes_ ? State::long_line : State::complete;
}

BodyReader::State BodyReader::begin_chunk(std::string_view line) {
  uint64_t size = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), size, 16);
  if (error != std::errc()) return State::malformed;
  const std::string_view extension = line.substr(static_cast<size_t>(end - line.data()));
  const size_t text = std::min(extension.find_first_not_of(" \t"), extension.size());
  if (text < extension.size() && extension[text] != ';') return State::malformed;
  if (extension.find_first_of(std::string_view("\0\r\n", 3)) != std::string_view::npos)
    return State::malformed;
  if (size > body_bytes_ - body_.size()) return State::too_long;
  missing_ = size;
  part_ = size == 0 ? Part::trailers : Part::data;
  return State::complete;
}

}  // namespace trireme::launch

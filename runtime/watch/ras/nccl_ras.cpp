#include "runtime/watch/ras/nccl_ras.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include "runtime/comm/record/call_ring.h"
#include "runtime/io/files/file.h"

namespace trireme::watch {

namespace {

constexpr size_t kMostBytes = 1 << 20;
constexpr size_t kMostLines = 12;

int64_t milliseconds_to(int64_t end_ns) { return std::max<int64_t>(0, (end_ns - steady_ns()) / 1'000'000); }

bool wait_for(int socket, short events, int64_t end_ns) {
  pollfd polled{socket, events, 0};
  return ::poll(&polled, 1, static_cast<int>(milliseconds_to(end_ns))) == 1;
}

FileDescriptor connect_to_host(const std::string& host, const std::string& port, int64_t end_ns) {
  addrinfo hints{}, *list = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &list) != 0) return FileDescriptor();
  FileDescriptor connected;
  for (const addrinfo* i = list; i != nullptr && connected.get() < 0; i = i->ai_next) {
    FileDescriptor socket(::socket(i->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (socket.get() < 0) continue;
    int error = 0;
    socklen_t size = sizeof error;
    const bool begins = ::connect(socket.get(), i->ai_addr, i->ai_addrlen) == 0 || errno == EINPROGRESS;
    if (!begins || !wait_for(socket.get(), POLLOUT, end_ns)) continue;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == 0) connected = std::move(socket);
  }
  ::freeaddrinfo(list);
  return connected;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    if (line.find_first_not_of(" \t\r=-") != std::string_view::npos) lines.emplace_back(line);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

/// From the line that begins with "Errors" or "Warnings" on; else all.
std::vector<std::string> worth_saying(std::vector<std::string> lines) {
  const auto begins = [](const std::string& line) {
    return line.starts_with("Errors") || line.starts_with("Warnings");
  };
  const auto first = std::ranges::find_if(lines, begins);
  if (first != lines.end()) lines.erase(lines.begin(), first);
  if (lines.size() > kMostLines) lines.resize(kMostLines);
  return lines;
}

}  // namespace

std::string ras_address() {
  const char* enabled = std::getenv("NCCL_RAS_ENABLE");
  if (enabled != nullptr && std::string_view(enabled) == "0") return "";
  const char* address = std::getenv("NCCL_RAS_ADDR");
  return address != nullptr && *address != 0 ? address : "localhost:28028";
}

std::vector<std::string> ask_ras(const std::string& address, double seconds) {
  const int64_t end_ns = steady_ns() + static_cast<int64_t>(seconds * 1e9);
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return {fmt::format("NCCL_RAS_ADDR {}: expected host:port", address)};
  const FileDescriptor socket = connect_to_host(address.substr(0, colon), address.substr(colon + 1), end_ns);
  if (socket.get() < 0) return {fmt::format("its RAS does not answer at {}", address)};
  constexpr std::string_view kQuestion = "verbose status\n";
  if (::send(socket.get(), kQuestion.data(), kQuestion.size(), MSG_NOSIGNAL) < 0)
    return {fmt::format("its RAS at {}: {}", address, std::strerror(errno))};
  std::string text;
  char buffer[4096];
  while (text.size() < kMostBytes && wait_for(socket.get(), POLLIN, end_ns)) {
    const ssize_t size = ::recv(socket.get(), buffer, sizeof buffer, 0);
    if (size <= 0) break;
    text.append(buffer, static_cast<size_t>(size));
  }
  if (text.empty()) return {fmt::format("its RAS at {} says nothing", address)};
  return worth_saying(lines_of(text));
}

}  // namespace trireme::watch

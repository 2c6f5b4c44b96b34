#include "runtime/watch/channel/addresses.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <arpa/inet.h>
#include <fmt/ranges.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "runtime/base/error.h"

namespace trireme::watch {

namespace {

struct Interface {
  std::string name, address;
  std::string network;  // the bytes of the address under its mask
  bool is_loopback = false, is_ipv4 = false;
};

/// Bytes of an address, empty where it is of no kind we know.
std::string address_bytes(const sockaddr* address) {
  if (address == nullptr) return {};
  const auto* bytes = reinterpret_cast<const char*>(address);
  if (address->sa_family == AF_INET) return {bytes + offsetof(sockaddr_in, sin_addr), sizeof(in_addr)};
  if (address->sa_family == AF_INET6) return {bytes + offsetof(sockaddr_in6, sin6_addr), sizeof(in6_addr)};
  return {};
}

std::vector<Interface> interfaces() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) throw_environment("the interfaces of this host: {}", std::strerror(errno));
  std::vector<Interface> found;
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    const std::string bytes = address_bytes(i->ifa_addr);
    if (bytes.empty() || (i->ifa_flags & IFF_UP) == 0) continue;
    const bool is_link_local =
        bytes.size() == sizeof(in6_addr) && bytes[0] == '\xfe' && (bytes[1] & 0xc0) == 0x80;
    if (is_link_local) continue;  // of no use without the name of an interface
    char text[INET6_ADDRSTRLEN] = "";
    ::inet_ntop(i->ifa_addr->sa_family, bytes.data(), text, sizeof text);
    std::string network = bytes;
    const std::string mask = address_bytes(i->ifa_netmask);
    for (size_t at = 0; at < network.size(); ++at)
      network[at] = static_cast<char>(network[at] & (at < mask.size() ? mask[at] : 0));
    found.push_back(
        {i->ifa_name, text, network, (i->ifa_flags & IFF_LOOPBACK) != 0, bytes.size() == sizeof(in_addr)});
  }
  ::freeifaddrs(list);
  std::ranges::stable_sort(found, std::greater(), [](const Interface& i) { return i.is_ipv4; });
  return found;
}

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

SocketAddress socket_address(const std::string& text, uint16_t port) {
  SocketAddress result;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&result.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&result.storage);
  if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    result.size = sizeof *v4;
  } else if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    result.size = sizeof *v6;
  }
  return result;
}

void send_at_once(int socket) {
  const int yes = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

}  // namespace

std::vector<std::string> own_addresses(const std::string& chosen, bool on_one_host) {
  constexpr size_t kMost = 4;
  std::vector<std::string> addresses, known;
  for (const Interface& i : interfaces()) {
    known.push_back(fmt::format("{} ({})", i.name, i.address));
    const bool fits = chosen.empty() ? i.is_loopback == on_one_host : chosen == i.name || chosen == i.address;
    if (fits && addresses.size() < kMost) addresses.push_back(i.address);
  }
  if (addresses.empty() && !chosen.empty())
    throw_usage("--run.watch-interface {}: this host has {}", chosen, fmt::join(known, ", "));
  if (addresses.empty()) throw_environment("no interface by which other hosts reach this one is up");
  return addresses;
}

std::vector<std::string> nearest_first(std::vector<std::string> addresses) {
  const std::vector<Interface> own = interfaces();
  const auto rank = [&](const std::string& text) {
    const SocketAddress address = socket_address(text, 0);
    const std::string bytes = address_bytes(reinterpret_cast<const sockaddr*>(&address.storage));
    for (const Interface& i : own) {
      if (i.address == text) return 2;  // of this host: another has the same, as bridges of containers do
    }
    for (const Interface& i : own) {
      // As far as the network's bytes reach.
      const size_t size = i.network.find_last_not_of('\0') + 1;
      if (!i.is_loopback && i.network.size() == bytes.size() && size > 0 &&
          bytes.compare(0, size, i.network, 0, size) == 0)
        return 0;
    }
    return 1;
  };
  std::ranges::stable_sort(addresses, std::less(), rank);
  return addresses;
}

FileDescriptor listen_on(const std::vector<std::string>& addresses, uint16_t& port) {
  const std::string any = addresses.size() == 1                         ? addresses[0]
                          : addresses[0].find(':') == std::string::npos ? "0.0.0.0"
                                                                        : "::";
  SocketAddress address = socket_address(any, 0);
  FileDescriptor socket(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  auto* generic = reinterpret_cast<sockaddr*>(&address.storage);
  if (socket.get() < 0 || ::bind(socket.get(), generic, address.size) != 0 ||
      ::listen(socket.get(), 1024) != 0 || ::getsockname(socket.get(), generic, &address.size) != 0) {
    throw_environment("the watchdog cannot listen on {}: {}", any, std::strerror(errno));
  }
  port = ntohs(address.storage.ss_family == AF_INET ? reinterpret_cast<sockaddr_in*>(generic)->sin_port
                                                    : reinterpret_cast<sockaddr_in6*>(generic)->sin6_port);
  return socket;
}

FileDescriptor connect_to(const std::string& text, uint16_t port) {
  const SocketAddress address = socket_address(text, port);
  if (address.size == 0) return FileDescriptor();
  FileDescriptor socket(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket.get() < 0) return socket;
  send_at_once(socket.get());
  const int status =
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.size);
  if (status != 0 && errno != EINPROGRESS) return FileDescriptor();
  return socket;
}

FileDescriptor accept_from(int listener) {
  FileDescriptor socket(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (socket.get() >= 0) send_at_once(socket.get());
  return socket;
}

}  // namespace trireme::watch

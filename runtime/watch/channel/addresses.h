// Sockets, and the addresses by which hosts reach each other.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/io/files/file.h"

namespace trireme::watch {

/// Addresses of this host in text, of interfaces that are up, at most four: with `chosen` (an interface's
/// name or one of its addresses) of that one; else loopback where the job is `on_one_host`, or all others,
/// IPv4 first. UserError (usage) where `chosen` is none of this host's, with those that are.
std::vector<std::string> own_addresses(const std::string& chosen, bool on_one_host);

/// `addresses` of another host in the order in which to try them: those in a network of this host first.
std::vector<std::string> nearest_first(std::vector<std::string> addresses);

/// A socket that listens on a free port, which goes to `port`: on `addresses` where that is one, else on all.
/// Throws EnvironmentError.
FileDescriptor listen_on(const std::vector<std::string>& addresses, uint16_t& port);
/// Begins to connect, without waiting; -1: cannot.
FileDescriptor connect_to(const std::string& address, uint16_t port);
/// A connection that has come in; -1: none.
FileDescriptor accept_from(int listener);

}  // namespace trireme::watch

// Options of a client's socket.
#pragma once

namespace trireme::launch {

/// Pieces leave at once, what the kernel keeps for a slow reader is bounded, and a peer that has vanished
/// without a word is noticed: by probes where nothing is to be sent, and where something is once it has not
/// been acknowledged for `write_seconds`.
void set_socket_options(int socket, double write_seconds);

}  // namespace trireme::launch

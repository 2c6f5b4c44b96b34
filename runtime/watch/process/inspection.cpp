#include "runtime/watch/process/inspection.h"

#include <chrono>
#include <thread>

#include "runtime/watch/process/process_facts.h"

namespace trireme::watch {

Inspection inspect(const Peer& peer, bool is_lost) {
  constexpr int kMostLooks = 25;
  ProcessState state = process_state(peer.pid, peer.start_time);
  for (int look = 0; is_lost && state.is_there && look < kMostLooks; ++look) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    state = process_state(peer.pid, peer.start_time);
  }
  const bool is_stopped = state.state == 'T' || state.state == 't' || state.state == 'D';
  Inspection found{peer.rank, state.is_there, is_stopped, state.state == 't', false, describe(state)};
  if (!peer.memory_events.empty())
    found.was_out_of_memory = memory_kills(peer.memory_events) > peer.memory_kills;
  return found;
}

nlohmann::json to_json(const Inspection& i) {
  return {{"rank", i.rank},
          {"is_there", i.is_there},
          {"is_stopped", i.is_stopped},
          {"is_debugged", i.is_debugged},
          {"was_out_of_memory", i.was_out_of_memory},
          {"detail", i.detail}};
}

Inspection inspection_from_json(const nlohmann::json& json) {
  return {json.at("rank"),        json.at("is_there"),          json.at("is_stopped"),
          json.at("is_debugged"), json.at("was_out_of_memory"), json.at("detail")};
}

}  // namespace trireme::watch

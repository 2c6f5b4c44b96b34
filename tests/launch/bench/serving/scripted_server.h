// A server on loopback that answers what a test says.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "launch/bench/serving/endpoint.h"

namespace trireme::test {

struct ScriptedReply {
  std::vector<std::string> pieces;  ///< are sent one by one
  bool closes = false;              ///< then the connection
  bool hangs = false;               ///< then nothing, until the client leaves
};

class ScriptedServer {
 public:
  /// Called on a thread of each connection with head and body of each request, which are counted from 0.
  using Script = std::function<ScriptedReply(int number, const std::string& head, const std::string& body)>;

  explicit ScriptedServer(Script script);
  ~ScriptedServer();

  const launch::Endpoint& endpoint() const { return endpoint_; }
  int num_connections() const { return num_connections_; }

 private:
  void accept_all();
  void serve(int socket);

  Script script_;
  launch::Endpoint endpoint_;
  int listener_ = -1;
  std::atomic<int> num_requests_{0}, num_connections_{0};
  std::mutex mutex_;
  std::vector<int> sockets_;          ///< by mutex_
  std::vector<std::thread> threads_;  ///< by mutex_, but after the acceptor has ended
  std::thread acceptor_;
};

/// An answer of JSON.
std::string json_answer(int status, const std::string& json, const std::string& headers = "");
/// A chunk of an answer; empty: the last.
std::string chunk(const std::string& data);
/// A whole stream of `tokens` tokens: head, an event each, usage, [DONE].
std::vector<std::string> stream_of(int64_t tokens, int64_t prompt_tokens,
                                   const std::string& finish = "length");

}  // namespace trireme::test

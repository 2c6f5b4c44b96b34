// What a power cut may leave of recorded calls: data that was not synced is dropped, names whose directory
// was not synced are as before.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/recorded_calls.h"

namespace trireme::test {

/// Contents by path below the root; directories end in '/' and have none.
using DiskState = std::map<std::string, std::string>;

class PowerCuts {
 public:
  /// `root` was there, empty and durable, before the first of the calls.
  PowerCuts(std::string root, const std::vector<RecordedCalls::Call>& calls);

  size_t num_calls() const { return steps_.size(); }
  /// The states that a cut after the first `num_calls` calls may leave, the different ones: what is not
  /// durable is there or not, all of it, only the names, only the data, one of them alone, all but one.
  std::vector<DiskState> states_after(size_t num_calls) const;

 private:
  struct Node {
    bool is_directory = false;
    std::map<std::string, Node*> entries;  // as the kernel shows them while the calls are made
  };
  struct Step {
    RecordedCalls::Call call;
    Node *parent = nullptr, *other_parent = nullptr;
    std::string name, other_name;
    Node *node = nullptr,
         *other_node = nullptr;  // what the names stand for before the call, or what it makes
  };
  void add(const RecordedCalls::Call& call);
  std::pair<Node*, std::string> place_of(const std::string& path);
  std::vector<bool> durable_after(size_t num_calls) const;
  DiskState state_with(const std::vector<bool>& applied) const;

  std::string root_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Step> steps_;
};

/// Makes files and directories of a state in an empty directory.
void put_on_disk(const DiskState& state, const std::string& directory);

}  // namespace trireme::test

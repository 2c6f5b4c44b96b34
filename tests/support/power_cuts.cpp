#include "tests/support/power_cuts.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <tuple>

#include "runtime/base/error.h"

namespace trireme::test {

using Kind = RecordedCalls::Kind;

namespace {

bool changes_names(Kind kind) {
  return kind != Kind::write && kind != Kind::sync_file && kind != Kind::sync_directory;
}

}  // namespace

PowerCuts::PowerCuts(std::string root, const std::vector<RecordedCalls::Call>& calls)
    : root_(std::move(root)) {
  while (root_.ends_with('/')) root_.pop_back();
  nodes_.push_back(std::make_unique<Node>());
  nodes_.front()->is_directory = true;
  for (const RecordedCalls::Call& call : calls) add(call);
}

std::pair<PowerCuts::Node*, std::string> PowerCuts::place_of(const std::string& path) {
  TRIREME_CHECK(path.starts_with(root_), "{} is not below {}", path, root_);
  Node* parent = nodes_.front().get();
  std::string name;
  for (const auto& part : std::filesystem::path(path.substr(root_.size())).relative_path()) {
    if (part.empty()) continue;
    if (!name.empty()) parent = parent->entries.at(name);
    name = part.string();
  }
  return {parent, name};
}

void PowerCuts::add(const RecordedCalls::Call& call) {
  Step step;
  step.call = call;
  std::tie(step.parent, step.name) = place_of(call.path);
  const auto found = step.parent->entries.find(step.name);
  step.node = step.name.empty() ? step.parent : found == step.parent->entries.end() ? nullptr : found->second;
  if (!call.other.empty()) {
    std::tie(step.other_parent, step.other_name) = place_of(call.other);
    const auto other = step.other_parent->entries.find(step.other_name);
    if (other != step.other_parent->entries.end()) step.other_node = other->second;
  }
  switch (call.kind) {
    case Kind::create:
    case Kind::make_directory:
      nodes_.push_back(std::make_unique<Node>());
      step.node = nodes_.back().get();
      step.node->is_directory = call.kind == Kind::make_directory;
      step.parent->entries[step.name] = step.node;
      break;
    case Kind::rename:
      step.parent->entries.erase(step.name);
      step.other_parent->entries[step.other_name] = step.node;
      break;
    case Kind::exchange:
      step.parent->entries[step.name] = step.other_node;
      step.other_parent->entries[step.other_name] = step.node;
      break;
    case Kind::unlink:
    case Kind::rmdir:
      step.parent->entries.erase(step.name);
      break;
    case Kind::write:
    case Kind::sync_file:
    case Kind::sync_directory:
      break;
  }
  steps_.push_back(std::move(step));
}

std::vector<bool> PowerCuts::durable_after(size_t num_calls) const {
  std::vector<bool> durable(num_calls);
  std::set<const Node*> synced;  // by calls that come later
  for (size_t i = num_calls; i-- > 0;) {
    const Step& step = steps_[i];
    if (!changes_names(step.call.kind)) {
      if (step.call.kind == Kind::write) {
        durable[i] = synced.contains(step.node);
      } else {
        synced.insert(step.node);
      }
    } else {
      durable[i] = synced.contains(step.parent) &&
                   (step.other_parent == nullptr || synced.contains(step.other_parent));
    }
  }
  return durable;
}

DiskState PowerCuts::state_with(const std::vector<bool>& applied) const {
  std::map<const Node*, std::map<std::string, const Node*>> entries;
  std::map<const Node*, std::string> contents;
  const auto erase = [&](const Node* parent, const std::string& name, const Node* node) {
    const auto it = entries[parent].find(name);
    if (it != entries[parent].end() && it->second == node) entries[parent].erase(it);
  };
  for (size_t i = 0; i < applied.size(); ++i) {
    if (!applied[i]) continue;
    const Step& step = steps_[i];
    switch (step.call.kind) {
      case Kind::create:
      case Kind::make_directory:
        entries[step.parent][step.name] = step.node;
        break;
      case Kind::write: {
        std::string& content = contents[step.node];
        const auto end = static_cast<size_t>(step.call.offset) + step.call.bytes.size();
        if (content.size() < end) content.resize(end);
        content.replace(static_cast<size_t>(step.call.offset), step.call.bytes.size(), step.call.bytes);
        break;
      }
      case Kind::rename:
        erase(step.parent, step.name, step.node);
        entries[step.other_parent][step.other_name] = step.node;
        break;
      case Kind::exchange:
        entries[step.parent][step.name] = step.other_node;
        entries[step.other_parent][step.other_name] = step.node;
        break;
      case Kind::unlink:
      case Kind::rmdir:
        erase(step.parent, step.name, step.node);
        break;
      case Kind::sync_file:
      case Kind::sync_directory:
        break;
    }
  }
  DiskState state;
  const std::function<void(const Node*, const std::string&)> walk = [&](const Node* node,
                                                                        const std::string& path) {
    for (const auto& [name, child] : entries[node]) {
      if (child->is_directory) {
        state[path + name + "/"] = "";
        walk(child, path + name + "/");
      } else {
        state[path + name] = contents[child];
      }
    }
  };
  walk(nodes_.front().get(), "");
  return state;
}

std::vector<DiskState> PowerCuts::states_after(size_t num_calls) const {
  const std::vector<bool> durable = durable_after(num_calls);
  std::set<DiskState> states;
  for (const bool names : {false, true}) {
    for (const bool data : {false, true}) {
      std::vector<bool> applied = durable;
      for (size_t i = 0; i < num_calls; ++i)
        applied[i] = applied[i] || (changes_names(steps_[i].call.kind) ? names : data);
      states.insert(state_with(applied));
    }
  }
  std::vector<bool> all(num_calls, true);
  for (size_t i = 0; i < num_calls; ++i) {
    if (durable[i]) continue;
    std::vector<bool> one = durable;
    one[i] = true;
    states.insert(state_with(one));
    all[i] = false;
    states.insert(state_with(all));
    all[i] = true;
  }
  return {states.begin(), states.end()};
}

void put_on_disk(const DiskState& state, const std::string& directory) {
  for (const auto& [path, content] : state) {
    if (path.ends_with('/')) {
      std::filesystem::create_directories(directory + "/" + path);
    } else {
      std::ofstream(directory + "/" + path, std::ios::binary) << content;
    }
  }
}

}  // namespace trireme::test

#include "runtime/comm/agreement.h"

#include <algorithm>
#include <cstring>
#include <map>

#include <fmt/ranges.h>

#include "runtime/base/error.h"
#include "runtime/base/philox.h"
#include "runtime/device/cpu/cpu_device.h"

namespace trireme {

namespace {

constexpr size_t kMostGroups = 5;  // whose facts are looked at
constexpr size_t kMostKeys = 8;    // that a message names
constexpr size_t kMostText = 120;  // of a value

/// What a rank says of itself, where they differ.
struct Entry {
  uint64_t digest;
  int64_t bytes;  // of its facts as text
  char host[64];
};

/// Ranks with the same facts.
struct Group {
  std::vector<int> ranks;
  std::vector<Fact> facts;
  std::string where;  // "ranks 0-3 (host a)"
};

std::string pack(std::span<const Fact> facts) {
  std::string text;
  for (const Fact& fact : facts) {
    for (const std::string* part : {&fact.key, &fact.value, &fact.shown}) text.append(*part).push_back('\0');
  }
  return text;
}

std::vector<Fact> unpack(std::string_view text) {
  std::vector<Fact> facts;
  const auto take = [&] {
    const size_t end = text.find('\0');
    TRIREME_CHECK(end != std::string_view::npos, "facts of another rank are truncated");
    std::string part(text.substr(0, end));
    text.remove_prefix(end + 1);
    return part;
  };
  while (!text.empty()) {
    Fact fact;
    fact.key = take();
    fact.value = take();
    fact.shown = take();
    facts.push_back(std::move(fact));
  }
  return facts;
}

uint64_t digest_of(std::span<const Fact> facts) {
  std::string text;
  for (const Fact& fact : facts) {
    for (const std::string* part : {&fact.key, &fact.value}) text.append(*part).push_back('\0');
  }
  return hash_name(text);
}

bool all_equal(Communicator& world, Stream& stream, uint64_t digest) {
  const auto number = static_cast<int64_t>(digest);
  int64_t largest[2] = {number, ~number};  // the second is ~ of the smallest
  world.all_reduce(stream, Tensor::borrow(largest, {2}, DType::i64), ReduceOp::max);
  return largest[0] == ~largest[1];
}

/// "ranks 0-2, 5".
std::string ranks_text(const std::vector<int>& ranks) {
  std::vector<std::string> runs;
  for (size_t begin = 0, end = 0; begin < ranks.size(); begin = end) {
    for (end = begin + 1; end < ranks.size() && ranks[end] == ranks[end - 1] + 1;) ++end;
    runs.push_back(end == begin + 1 ? fmt::format("{}", ranks[begin])
                                    : fmt::format("{}-{}", ranks[begin], ranks[end - 1]));
  }
  constexpr size_t kMostRuns = 4;
  const bool cut = runs.size() > kMostRuns;
  runs.resize(std::min(runs.size(), kMostRuns));
  return fmt::format("rank{} {}{}", ranks.size() > 1 ? "s" : "", fmt::join(runs, ", "), cut ? ", ..." : "");
}

std::string hosts_text(const std::vector<int>& ranks, const std::vector<Entry>& entries) {
  constexpr size_t kMostHosts = 4;
  std::vector<std::string> hosts;
  for (const int rank : ranks) {
    std::string host = entries[static_cast<size_t>(rank)].host;
    if (std::ranges::find(hosts, host) == hosts.end()) hosts.push_back(std::move(host));
  }
  const bool cut = hosts.size() > kMostHosts;
  hosts.resize(std::min(hosts.size(), kMostHosts));
  return fmt::format("host{} {}{}", hosts.size() > 1 ? "s" : "", fmt::join(hosts, ", "), cut ? ", ..." : "");
}

/// The largest group first, then in the order of their first ranks.
std::vector<Group> groups_of(const std::vector<Entry>& entries) {
  std::vector<Group> groups;
  std::map<uint64_t, size_t> place;
  for (size_t rank = 0; rank < entries.size(); ++rank) {
    const auto [it, is_new] = place.emplace(entries[rank].digest, groups.size());
    if (is_new) groups.emplace_back();
    groups[it->second].ranks.push_back(static_cast<int>(rank));
  }
  const auto largest = std::ranges::max_element(
      groups, [](const Group& a, const Group& b) { return a.ranks.size() < b.ranks.size(); });
  std::rotate(groups.begin(), largest, largest + 1);
  for (Group& group : groups)
    group.where = fmt::format("{} ({})", ranks_text(group.ranks), hosts_text(group.ranks, entries));
  return groups;
}

std::vector<Entry> gather_entries(Communicator& world, Stream& stream, uint64_t digest, size_t bytes,
                                  const std::string& host) {
  Entry mine{digest, static_cast<int64_t>(bytes), {}};
  host.copy(mine.host, sizeof mine.host - 1);
  std::vector<Entry> entries(static_cast<size_t>(world.size()));
  constexpr auto kBytes = static_cast<int64_t>(sizeof(Entry));
  world.all_gather(stream, Tensor::borrow(&mine, {kBytes}, DType::u8),
                   Tensor::borrow(entries.data(), {kBytes * world.size()}, DType::u8));
  return entries;
}

const Fact* find(const std::vector<Fact>& facts, const std::string& key) {
  const auto it = std::ranges::find(facts, key, &Fact::key);
  return it == facts.end() ? nullptr : &*it;
}

std::string shown(const Fact* fact) {
  if (fact == nullptr) return "nothing";
  std::string text = fact->shown.empty() ? fact->value : fact->shown;
  if (text.size() > kMostText) text = text.substr(0, kMostText) + "...";
  return text;
}

/// Empty where those that know the key agree; else "key: VALUE on ranks ..., VALUE on rank ...".
std::string difference(const std::string& key, const std::vector<Group>& groups) {
  const auto is_unknown = [](const Fact* fact) { return fact != nullptr && fact->value.empty(); };
  const auto same = [](const Fact* a, const Fact* b) {
    return a == b || (a != nullptr && b != nullptr && a->value == b->value);
  };
  std::vector<std::pair<const Fact*, std::vector<std::string>>> values;
  for (const Group& group : groups) {
    const Fact* fact = find(group.facts, key);
    if (is_unknown(fact)) continue;
    auto it = std::ranges::find_if(values, [&](const auto& value) { return same(value.first, fact); });
    if (it == values.end()) it = values.insert(values.end(), {fact, {}});
    it->second.push_back(group.where);
  }
  if (values.size() < 2) return "";
  std::vector<std::string> texts;
  for (const auto& [fact, places] : values)
    texts.push_back(fmt::format("{} on {}", shown(fact), fmt::join(places, " and ")));
  return fmt::format("{}: {}", key, fmt::join(texts, "; "));
}

std::vector<std::string> differences(const std::vector<Group>& groups) {
  std::vector<std::string> keys, found;
  for (const Group& group : groups) {
    for (const Fact& fact : group.facts) {
      if (std::ranges::find(keys, fact.key) == keys.end()) keys.push_back(fact.key);
    }
  }
  for (const std::string& key : keys) {
    std::string text = difference(key, groups);
    if (!text.empty()) found.push_back(std::move(text));
  }
  return found;
}

}  // namespace

void check_agreement(Communicator& world, std::span<const Fact> facts, const std::string& host) {
  const auto stream = cpu::make_compute_stream();
  const uint64_t digest = digest_of(facts);
  if (all_equal(world, *stream, digest)) return;

  const std::string mine = pack(facts);
  const std::vector<Entry> entries = gather_entries(world, *stream, digest, mine.size(), host);
  std::vector<Group> groups = groups_of(entries);
  groups.resize(std::min(groups.size(), kMostGroups));
  for (Group& group : groups) {
    const int root = group.ranks.front();
    std::string text = mine;
    text.resize(static_cast<size_t>(entries[static_cast<size_t>(root)].bytes));
    if (world.rank() == root) text = mine;
    world.broadcast(*stream, Tensor::borrow(text.data(), {static_cast<int64_t>(text.size())}, DType::u8),
                    root);
    group.facts = unpack(text);
  }
  std::vector<std::string> found = differences(groups);
  if (found.empty()) return;
  const size_t num_found = found.size();
  found.resize(std::min(num_found, kMostKeys));
  if (num_found > kMostKeys) found.push_back(fmt::format("{} more", num_found - kMostKeys));
  throw_usage(
      "the {} ranks were started differently:\n"
      "  {}",
      world.size(), fmt::join(found, "\n  "));
}

}  // namespace trireme

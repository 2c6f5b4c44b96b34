#include "launch/trainer/step_profile.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/io/atomic_file.h"

namespace trireme {

namespace {

using Json = nlohmann::ordered_json;

/// Begins when all ranks have done what they were given.
Context& together(Context& ctx, Communicator& world) {
  ctx.stream().synchronize();
  world.barrier(ctx.host_stream());
  return ctx;
}

Json trace_of(const OpTimes& times, int rank) {
  Json events = Json::array();
  events.push_back({{"name", "process_name"},
                    {"ph", "M"},
                    {"pid", rank},
                    {"args", {{"name", fmt::format("rank {}", rank)}}}});
  constexpr double kMicroseconds = 1e3;
  for (const TimedOp& op : times.ops) {
    events.push_back({{"name", op.name},
                      {"cat", kind_of(op)},
                      {"ph", "X"},
                      {"ts", op.begin_ms * kMicroseconds},
                      {"dur", op.ms * kMicroseconds},
                      {"pid", rank},
                      {"tid", 0},
                      {"args", {{"shapes", op.shapes}, {"flops", op.flops}, {"bytes", op.bytes}}}});
  }
  return events;
}

/// The ranks' texts on rank 0, elsewhere none.
std::vector<std::string> gather(Context& ctx, Communicator& world, std::string text) {
  const auto bytes = [](std::string& of) {
    return Tensor::borrow(of.data(), {static_cast<int64_t>(of.size())}, DType::u8);
  };
  auto length = static_cast<int64_t>(text.size());
  if (world.rank() != 0) {
    world.send(ctx.host_stream(), Tensor::borrow(&length, {1}, DType::i64), 0);
    world.send(ctx.host_stream(), bytes(text), 0);
    return {};
  }
  std::vector<std::string> texts = {std::move(text)};
  for (int rank = 1; rank < world.size(); ++rank) {
    world.receive(ctx.host_stream(), Tensor::borrow(&length, {1}, DType::i64), rank);
    std::string received(static_cast<size_t>(length), ' ');
    world.receive(ctx.host_stream(), bytes(received), rank);
    texts.push_back(std::move(received));
  }
  return texts;
}

std::string rank_line(size_t rank, const StepAccount& account) {
  std::string line = fmt::format("{:>6} {:>10.3f}", rank, account.ms);
  for (const AccountLine& kind : account.kinds) line += fmt::format(" {:>10.3f}", kind.ms);
  return line + fmt::format(" {:>11.3f}\n", account.between_ms);
}

}  // namespace

StepProfile::StepProfile(Context& ctx, const ParallelContext& parallel)
    : ctx_(ctx), world_(parallel.world()), groups_(parallel.groups()), timeline_(together(ctx, world_)) {
  for (const Communicator* group : groups_) waited_before_.push_back(group->seconds_waited());
}

std::string StepProfile::finish(const DeviceRates& rates, const std::string& file) {
  const OpTimes times = timeline_.stop();
  StepAccount account = account_of(times, rates);
  for (size_t i = 0; i < groups_.size(); ++i) {
    const double ms = 1e3 * (groups_[i]->seconds_waited() - waited_before_[i]);
    if (ms > 0) account.wait_ms.emplace_back(groups_[i]->name(), ms);
  }
  const Json mine = {{"trace", trace_of(times, world_.rank())}, {"account", to_json(account)}};
  const auto texts = gather(ctx_, world_, mine.dump());
  if (world_.rank() != 0) return "";
  Json whole = {{"displayTimeUnit", "ms"}, {"traceEvents", Json::array()}, {"accounts", Json::array()}};
  std::vector<StepAccount> accounts;
  for (const std::string& text : texts) {
    const Json of_rank = Json::parse(text);
    for (const Json& event : of_rank.at("trace")) whole["traceEvents"].push_back(event);
    whole["accounts"].push_back(of_rank.at("account"));
    accounts.push_back(account_from_json(of_rank.at("account")));
  }
  write_file_atomically(file, whole.dump() + "\n");
  return profile_text(accounts);
}

std::string profile_text(const std::vector<StepAccount>& accounts) {
  constexpr size_t kMostRanks = 16, kMostOps = 12;
  std::vector<size_t> by_work(accounts.size());
  std::iota(by_work.begin(), by_work.end(), size_t{0});
  std::ranges::stable_sort(by_work, std::ranges::greater(), [&](size_t r) { return accounts[r].busy_ms(); });
  const size_t busiest = by_work.front();
  std::string text;
  if (accounts.size() > 1) {
    std::vector<size_t> shown = by_work;
    if (shown.size() > kMostRanks) {
      shown.erase(shown.begin() + kMostRanks / 2, shown.end() - kMostRanks / 2);
      text += fmt::format("the {} busiest and the {} idlest of {} ranks, in ms:\n", kMostRanks / 2,
                          kMostRanks / 2, accounts.size());
    } else {
      text += "ms by rank:\n";
    }
    std::ranges::sort(shown);
    text += fmt::format("{:>6} {:>10}", "rank", "step");
    for (const AccountLine& kind : accounts[busiest].kinds) text += fmt::format(" {:>10}", kind.name);
    text += fmt::format(" {:>11}\n", "between ops");
    for (const size_t rank : shown) text += rank_line(rank, accounts[rank]);
    text += fmt::format("rank {}, which computed longest:\n", busiest);
  }
  return text + account_text(accounts[busiest], kMostOps);
}

}  // namespace trireme

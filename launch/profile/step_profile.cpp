#include "launch/profile/step_profile.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "runtime/io/files/atomic_file.h"

namespace trireme::launch {

namespace {

using Json = nlohmann::ordered_json;

/// Begins when all ranks have done what they were given.
Context& together(Context& ctx, Communicator& world) {
  ctx.stream().synchronize();
  world.barrier(ctx.host_stream());
  return ctx;
}

constexpr double kMicroseconds = 1e3;  // in a millisecond

enum Track { kOps, kWaits };  // of a rank

Json name_of(const char* what, int rank, int track, const std::string& name) {
  return {{"name", what}, {"ph", "M"}, {"pid", rank}, {"tid", track}, {"args", {{"name", name}}}};
}

Json span(const std::string& name, const std::string& category, double begin_ms, double ms, int rank,
          Track track) {
  return {{"name", name},
          {"cat", category},
          {"ph", "X"},
          {"ts", begin_ms * kMicroseconds},
          {"dur", ms * kMicroseconds},
          {"pid", rank},
          {"tid", static_cast<int>(track)}};
}

/// What both tracks of a rank are called, and the ops on the first.
Json trace_of(const OpTimes& times, int rank) {
  Json events = {name_of("process_name", rank, kOps, fmt::format("rank {}", rank)),
                 name_of("thread_name", rank, kOps, "ops"), name_of("thread_name", rank, kWaits, "waits")};
  for (const TimedOp& op : times.ops) {
    events.push_back(span(op.name, kind_of(op), op.begin_ms, op.ms, rank, kOps));
    events.back()["args"] = {{"shapes", op.shapes}, {"flops", op.flops}, {"bytes", op.bytes}};
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
    : ctx_(ctx), world_(parallel.world()), timeline_(together(ctx, world_)) {
  world_.observe_waits(*this);
}

StepProfile::~StepProfile() { ignore_waits(); }

void StepProfile::ignore_waits() {
  if (std::exchange(is_observing_, false)) world_.ignore_waits(*this);
}

void StepProfile::begin_wait(Stream& stream, std::string_view group, std::string_view operation) {
  if (!is_counted(stream)) return;
  waits_.push_back({std::string(group), std::string(operation), stream.record_time(), nullptr});
}

void StepProfile::end_wait(Stream& stream) {
  if (is_counted(stream)) waits_.back().end = stream.record_time();
}

std::string StepProfile::finish(const ops::DeviceRates& rates, const std::string& file) {
  ignore_waits();
  const OpTimes times = timeline_.stop();
  StepAccount account = account_of(times, rates);
  Json trace = trace_of(times, world_.rank());
  for (const Wait& wait : waits_) {
    const double ms = wait.end->milliseconds_since(*wait.begin);
    account.add_wait(wait.group, ms);
    trace.push_back(span(wait.operation, wait.group, wait.begin->milliseconds_since(timeline_.start()), ms,
                         world_.rank(), kWaits));
  }
  const Json mine = {{"trace", trace}, {"account", to_json(account)}};
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
  std::string failure;
  try {
    write_file_atomically(file, whole.dump() + "\n");
  } catch (const Error& error) {  // the run continues
    failure = fmt::format("note: {}\n", error.what());
  }
  return failure + profile_text(accounts);
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
    text += fmt::format("rank {}, which computed the longest:\n", busiest);
  }
  return text + account_text(accounts[busiest], kMostOps);
}

}  // namespace trireme::launch

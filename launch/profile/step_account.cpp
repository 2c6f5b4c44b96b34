#include "launch/profile/step_account.h"

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trireme::launch {

namespace {

void add(AccountLine& line, const TimedOp& op, const ops::DeviceRates& rates) {
  ++line.calls;
  line.ms += op.ms;
  line.flops += op.flops;
  line.bytes += op.bytes;
  line.least_ms += 1e3 * rates.least_seconds(op.flops, op.bytes);
}

std::string rate(double amount, double ms, double unit) {
  return amount > 0 && ms > 0 ? fmt::format("{:.2f}", amount / ms * 1e3 / unit) : "-";
}

std::string row(const AccountLine& line, double step_ms) {
  return fmt::format("{:<26} {:>6} {:>10.3f} {:>6.1f} % {:>9} {:>9} {:>10.3f} {:>10.3f}{}{}\n", line.name,
                     line.calls, line.ms, 100 * line.ms / step_ms, rate(line.flops, line.ms, 1e12),
                     rate(line.bytes, line.ms, 1e9), line.least_ms, std::max(0.0, line.ms - line.least_ms),
                     line.shapes.empty() ? "" : "  ", line.shapes);
}

nlohmann::ordered_json to_json(const AccountLine& line) {
  nlohmann::ordered_json json = {{"name", line.name}};
  if (!line.shapes.empty()) json["shapes"] = line.shapes;
  json["calls"] = line.calls;
  json["ms"] = line.ms;
  json["flops"] = line.flops;
  json["bytes"] = line.bytes;
  json["least_ms"] = line.least_ms;
  return json;
}

AccountLine line_from_json(const nlohmann::ordered_json& json) {
  return {json.at("name"),  json.value("shapes", ""), json.at("calls"),   json.at("ms"),
          json.at("flops"), json.at("bytes"),         json.at("least_ms")};
}

}  // namespace

std::string kind_of(const TimedOp& op) {
  const std::string_view name = op.name;
  if (name.starts_with("adamw") || name.starts_with("muon") || name == "round_stochastically")
    return "optimizer";
  if (name.find("attention") != name.npos) return "attention";
  return op.flops > 0 ? "products" : "other ops";
}

StepAccount account_of(const OpTimes& times, const ops::DeviceRates& rates) {
  StepAccount account;
  account.ms = account.between_ms = times.ms;
  account.rates = rates;
  for (const char* kind : {"products", "attention", "optimizer", "other ops"}) {
    account.kinds.emplace_back().name = kind;
  }
  std::map<std::pair<std::string, std::string>, AccountLine> ops;
  for (const TimedOp& op : times.ops) {
    add(*std::ranges::find(account.kinds, kind_of(op), &AccountLine::name), op, rates);
    AccountLine& line = ops[{op.name, op.shapes}];
    line.name = op.name;
    line.shapes = op.shapes;
    add(line, op, rates);
    account.between_ms -= op.ms;
  }
  for (auto& [key, line] : ops) account.ops.push_back(std::move(line));
  std::ranges::stable_sort(account.ops, std::ranges::greater(), &AccountLine::ms);
  return account;
}

void StepAccount::add_wait(const std::string& group, double wait) {
  const auto found = std::ranges::find(wait_ms, group, &std::pair<std::string, double>::first);
  if (found == wait_ms.end()) {
    wait_ms.emplace_back(group, wait);
  } else {
    found->second += wait;
  }
}

std::string account_text(const StepAccount& account, size_t num_ops) {
  std::string text = fmt::format("{:<26} {:>6} {:>10} {:>8} {:>9} {:>9} {:>10} {:>10}\n", "", "calls", "ms",
                                 "share", "TFLOP/s", "GB/s", "at least", "lost ms");
  for (const AccountLine& kind : account.kinds) text += row(kind, account.ms);
  text += fmt::format("{:<26} {:>6} {:>10.3f} {:>6.1f} % {:>9} {:>9} {:>10} {:>10.3f}\n", "between ops", "",
                      account.between_ms, 100 * account.between_ms / account.ms, "-", "-", "-",
                      account.between_ms);
  for (const auto& [group, ms] : account.wait_ms) {
    text += fmt::format("  waiting for {:<12} {:>6} {:>10.3f} {:>6.1f} %\n", group, "", ms,
                        100 * ms / account.ms);
  }
  double least = 0;
  for (const AccountLine& kind : account.kinds) least += kind.least_ms;
  text += fmt::format("{:<26} {:>6} {:>10.3f} {:>6.1f} % {:>9} {:>9} {:>10.3f}\n", "the step", "", account.ms,
                      100.0, "", "", least);
  num_ops = std::min(num_ops, account.ops.size());
  if (num_ops > 0) text += fmt::format("the {} slowest of {} ops:\n", num_ops, account.ops.size());
  for (size_t i = 0; i < num_ops; ++i) text += row(account.ops[i], account.ms);
  text += fmt::format("\"at least\" is the roofline time at {:.2f} TFLOP/s and {:.1f} GB/s",
                      account.rates.flops * 1e-12, account.rates.bytes * 1e-9);
  return text;
}

nlohmann::ordered_json to_json(const StepAccount& account) {
  nlohmann::ordered_json json = {{"ms", account.ms},
                                 {"between_ms", account.between_ms},
                                 {"tflop_s", account.rates.flops * 1e-12},
                                 {"gb_s", account.rates.bytes * 1e-9}};
  for (const AccountLine& kind : account.kinds) json["kinds"].push_back(to_json(kind));
  json["wait_ms"] = nlohmann::ordered_json::object();
  for (const auto& [group, ms] : account.wait_ms) json["wait_ms"][group] = ms;
  json["ops"] = nlohmann::ordered_json::array();
  for (const AccountLine& op : account.ops) json["ops"].push_back(to_json(op));
  return json;
}

StepAccount account_from_json(const nlohmann::ordered_json& json) {
  StepAccount account;
  account.ms = json.at("ms");
  account.between_ms = json.at("between_ms");
  account.rates = {json.at("tflop_s").get<double>() * 1e12, json.at("gb_s").get<double>() * 1e9};
  for (const auto& kind : json.at("kinds")) account.kinds.push_back(line_from_json(kind));
  for (const auto& [group, ms] : json.at("wait_ms").items()) account.wait_ms.emplace_back(group, ms);
  for (const auto& op : json.at("ops")) account.ops.push_back(line_from_json(op));
  return account;
}

}  // namespace trireme::launch

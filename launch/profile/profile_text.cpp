#include "launch/profile/profile_text.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

namespace trireme::launch {

namespace {

std::string rank_line(size_t rank, const StepAccount& account) {
  std::string line = fmt::format("{:>6} {:>10.3f}", rank, account.ms);
  for (const AccountLine& kind : account.kinds) line += fmt::format(" {:>10.3f}", kind.ms);
  return line + fmt::format(" {:>11.3f}\n", account.between_ms);
}

}  // namespace

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

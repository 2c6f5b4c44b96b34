// Collects what is wrong in one check, over all ranks.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "launch/doctor/finding.h"
#include "launch/doctor/rank_facts.h"

namespace trireme::launch {

/// "rank 3 (h1)", "ranks 0-2, 5 (h1, h2)"; empty for all ranks, and for a job of one.
std::string place_of(std::span<const int> ranks, std::span<const RankFacts> all);

/// The machine of each rank once: indices of their first ranks.
std::vector<size_t> first_ranks_of_hosts(std::span<const RankFacts> ranks);

/// "12.3 GB/s", "850 MB/s".
std::string rate_text(double bytes_per_second);
/// "1.2 ms", "35 us", "-2.1 s".
std::string time_text(double seconds);

class Judgement {
 public:
  /// `ranks` are those of the whole job, in order, and outlive it.
  Judgement(std::string check, std::span<const RankFacts> ranks) : check_(std::move(check)), ranks_(ranks) {}

  /// What is wrong with one rank (-1: with all, or none in particular). Ranks of which the same is said
  /// become one finding that names them.
  void warn(int rank, const std::string& text, const std::string& remedy) {
    add(Verdict::warn, rank, text, remedy);
  }
  void fail(int rank, const std::string& text, const std::string& remedy) {
    add(Verdict::fail, rank, text, remedy);
  }

  /// What was found; `otherwise` is said, as OK, where nothing was wrong.
  std::vector<Finding> done(const std::string& otherwise) &&;

 private:
  struct Problem {
    Verdict verdict;
    std::string text, remedy;
    std::vector<int> ranks;
  };
  void add(Verdict verdict, int rank, const std::string& text, const std::string& remedy);

  std::string check_;
  std::span<const RankFacts> ranks_;
  std::vector<Problem> problems_;
};

}  // namespace trireme::launch

#include "runtime/data/tokenizer/models/unigram_words.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/steps/decoder.h"
#include "runtime/io/json/utf8.h"

namespace trireme {
namespace {

constexpr double kUnknownPenalty = 10.0;

}  // namespace

UnigramWords::UnigramWords(const std::vector<UnigramPiece>& pieces, const UnigramOptions& options)
    : options_(options), fallback_ids_(256, -1) {
  std::vector<std::pair<std::string_view, int32_t>> sorted;
  for (size_t id = 0; id < pieces.size(); ++id) {
    const auto& piece = pieces[id];
    scores_.push_back(piece.score);
    in_doubles_.push_back(piece.in_doubles);
    vocabulary_.emplace(piece.text, static_cast<int32_t>(id));
    if (const auto byte = fallback_byte(piece.text)) fallback_ids_[*byte] = static_cast<int32_t>(id);
    if (!piece.is_matched || piece.text.empty()) continue;
    sorted.emplace_back(piece.text, static_cast<int32_t>(id));
  }
  unknown_score_ = options.in_floats
                       ? static_cast<float>(options.least_score) - static_cast<float>(kUnknownPenalty)
                       : options.least_score - kUnknownPenalty;
  std::ranges::sort(sorted);

  // Breadth first: a node is a range of the sorted tokens that begin alike.
  struct Range {
    size_t begin, end, depth;
  };
  std::vector<Range> ranges{{0, sorted.size(), 0}};
  nodes_.emplace_back();
  for (size_t n = 0; n < ranges.size(); ++n) {
    auto [begin, end, depth] = ranges[n];
    for (; begin < end && sorted[begin].first.size() == depth; ++begin) nodes_[n].id = sorted[begin].second;
    nodes_[n].first_edge = static_cast<int32_t>(edge_bytes_.size());
    while (begin < end) {
      const char byte = sorted[begin].first[depth];
      size_t next = begin;
      while (next < end && sorted[next].first[depth] == byte) ++next;
      edge_bytes_.push_back(static_cast<uint8_t>(byte));
      edge_nodes_.push_back(static_cast<int32_t>(ranges.size()));
      ++nodes_[n].num_edges;
      ranges.push_back({begin, next, depth + 1});
      nodes_.emplace_back();
      begin = next;
    }
  }
  root_.assign(256, -1);
  for (int32_t e = 0; e < nodes_[0].num_edges; ++e)
    root_[edge_bytes_[static_cast<size_t>(e)]] = edge_nodes_[static_cast<size_t>(e)];
}

int32_t UnigramWords::child(int32_t node, uint8_t byte) const {
  if (node == 0) return root_[byte];
  const Node& n = nodes_[static_cast<size_t>(node)];
  const auto begin = edge_bytes_.begin() + n.first_edge, end = begin + n.num_edges;
  const auto it = n.num_edges > 8 ? std::lower_bound(begin, end, byte) : std::find(begin, end, byte);
  return it == end || *it != byte ? -1 : edge_nodes_[static_cast<size_t>(it - edge_bytes_.begin())];
}

void UnigramWords::encode(std::string_view word, const TextPlace& place, std::vector<int32_t>& ids) const {
  if (cache_.append(word, ids)) return;
  const auto word_ids = options_.in_floats ? ids_of<float>(word, place) : ids_of<double>(word, place);
  cache_.insert(word, word_ids);
  ids.insert(ids.end(), word_ids.begin(), word_ids.end());
}

template <class Score>
std::vector<int32_t> UnigramWords::ids_of(std::string_view word, const TextPlace& place) const {
  constexpr int32_t kUnknown = -2;
  if (word.size() >= INT32_MAX)
    throw_bad_input("{}: a word of {} bytes is too long", place.file, word.size());
  std::vector<Step> best(word.size() + 1);
  // Ties are decided by how sums are rounded: before they are compared, but for pieces in 64 bits.
  const auto offer = [&](size_t end, double score, int32_t id, size_t begin) {
    Step& step = best[end];
    if (step.begin < 0 || score > step.score)
      step = {static_cast<double>(static_cast<Score>(score)), id, static_cast<int32_t>(begin)};
  };
  for (size_t begin = 0; begin < word.size();) {
    size_t next = begin;
    next_code_point(word, next);
    const double so_far = best[begin].score;
    bool has_single = false;
    int32_t node = 0;
    for (size_t i = begin; i < word.size(); ++i) {
      node = child(node, static_cast<uint8_t>(word[i]));
      if (node < 0) break;
      const int32_t id = nodes_[static_cast<size_t>(node)].id;
      if (id < 0) continue;
      const double score = scores_[static_cast<size_t>(id)] + so_far;
      offer(i + 1,
            in_doubles_[static_cast<size_t>(id)] ? score : static_cast<double>(static_cast<Score>(score)), id,
            begin);
      has_single |= i + 1 == next;
    }
    if (!has_single)
      offer(next, static_cast<double>(static_cast<Score>(unknown_score_ + so_far)), kUnknown, begin);
    begin = next;
  }
  // From the end; unknown characters in succession are one run.
  std::vector<Run> path;
  for (auto end = static_cast<int32_t>(word.size()); end > 0;) {
    const Step& step = best[static_cast<size_t>(end)];
    const bool is_unknown = step.id == kUnknown || options_.unknown == step.id;
    if (is_unknown && !path.empty() && path.back().id == kUnknown && options_.unknown) {
      path.back().begin = step.begin;
    } else {
      path.push_back({is_unknown ? kUnknown : step.id, step.begin, end});
    }
    end = step.begin;
  }
  std::vector<int32_t> ids;
  for (auto run = path.rbegin(); run != path.rend(); ++run) {
    const auto begin = static_cast<size_t>(run->begin);
    run->id == kUnknown ? add_unknown(word.substr(begin, static_cast<size_t>(run->end) - begin), place, ids)
                        : ids.push_back(run->id);
  }
  return ids;
}

void UnigramWords::add_unknown(std::string_view run, const TextPlace& place,
                               std::vector<int32_t>& ids) const {
  if (options_.looks_up_runs) {
    if (const auto it = vocabulary_.find(run); it != vocabulary_.end()) return ids.push_back(it->second);
  }
  const auto has_token = [this](char c) { return fallback_ids_[static_cast<uint8_t>(c)] >= 0; };
  if (options_.byte_fallback && std::ranges::all_of(run, has_token)) {
    for (const char c : run) ids.push_back(fallback_ids_[static_cast<uint8_t>(c)]);
    return;
  }
  if (!options_.unknown) place.refuse(run, "Unigram");
  ids.push_back(*options_.unknown);
}

}  // namespace trireme

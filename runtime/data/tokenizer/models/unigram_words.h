// The most probable sequence of tokens (Kudo 2018, "Subword regularization"), by Viterbi's algorithm over a
// trie of the vocabulary.
#pragma once

#include <optional>

#include "runtime/data/tokenizer/models/word_model.h"

namespace trireme {

struct UnigramPiece {
  std::string text;
  double score = 0;
  bool is_matched = true;   ///< in texts; control and byte tokens are not
  bool in_doubles = false;  ///< with UnigramOptions::in_floats: its score is added in 64 bits all the same
};

struct UnigramOptions {
  std::optional<int32_t> unknown;
  double least_score = 0;  ///< of the tokens: an unknown character has 10 less
  bool byte_fallback = false;
  bool in_floats = false;      ///< scores add up in 32 bits, as SentencePiece adds them; else in 64
  bool looks_up_runs = false;  ///< a run of unknown characters that is a token is that token (Hugging Face's)
};

class UnigramWords final : public WordModel {
 public:
  /// `pieces` by id.
  UnigramWords(const std::vector<UnigramPiece>& pieces, const UnigramOptions& options);
  void encode(std::string_view word, const TextPlace& place, std::vector<int32_t>& ids) const override;

 private:
  struct Node {
    int32_t first_edge = 0, num_edges = 0;
    int32_t id = -1;
  };
  struct Step {
    double score = 0;
    int32_t id = -1;
    int32_t begin = -1;
  };
  struct Run {
    int32_t id, begin, end;
  };
  template <class Score>
  std::vector<int32_t> ids_of(std::string_view word, const TextPlace& place) const;
  void add_unknown(std::string_view run, const TextPlace& place, std::vector<int32_t>& ids) const;
  int32_t child(int32_t node, uint8_t byte) const;

  UnigramOptions options_;
  std::vector<double> scores_;
  std::vector<bool> in_doubles_;
  std::vector<Node> nodes_;
  std::vector<uint8_t> edge_bytes_;
  std::vector<int32_t> edge_nodes_;
  std::vector<int32_t> root_;  ///< children of the first node, by byte
  std::vector<int32_t> fallback_ids_;
  Vocabulary vocabulary_;
  double unknown_score_ = 0;
  mutable WordCache cache_;
};

}  // namespace trireme

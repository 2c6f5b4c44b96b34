// How SentencePiece's two kinds of models turn words into pieces.
#pragma once

#include <memory>
#include <string>

#include "runtime/data/tokenizer/files/sentencepiece_model.h"
#include "runtime/data/tokenizer/models/word_model.h"

namespace trireme {

/// `crosses_words` becomes true where a piece has a blank behind another character: texts must then not be
/// cut before blanks. UserError(bad_input) naming `file` when merges would make an unused piece.
std::shared_ptr<const WordModel> make_sentencepiece_bpe(const SentencePieceModel& model,
                                                        const std::string& file, bool& crosses_words);
std::shared_ptr<const WordModel> make_sentencepiece_unigram(const SentencePieceModel& model);

}  // namespace trireme

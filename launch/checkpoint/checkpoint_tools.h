// The actions of trireme checkpoint: list, verify, show, diff, export.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

namespace trireme::launch {

/// The checkpoints that a path names, the newest first: itself, or those of a run's directory or of the
/// directory in which they lie. UserError (checkpoint) where there is none.
std::vector<std::string> find_checkpoints(const std::string& path);

/// A line each: step, tokens, bytes, ranks that wrote, proof hash, or what is wrong with it.
void list_checkpoints(const std::string& path, std::FILE* out);
/// Reads all of them, bit for bit. UserError (checkpoint) with all that is damaged.
void verify_checkpoints(const std::string& path, std::FILE* out);
/// State, options and tensors.
void show_checkpoint(const std::string& path, std::FILE* out);
/// What differs between two: state, options, tensors element by element. True where nothing of the state
/// does.
bool diff_checkpoints(const std::string& one, const std::string& other, std::FILE* out);

}  // namespace trireme::launch

#pragma once

#include <string>
#include <vector>

#include "checkpoint/store.h"
#include "nn/parameter.h"

namespace artel {

/// Copies an arena into pieces named prefix + stored name: one per stored slice of every parameter.
/// `arena` [n] has the layout of `store`, in any type.
void append_pieces(Context& context, const ParameterStore& store, const Tensor& arena, const std::string& prefix,
                   std::vector<TensorPiece>& pieces);

/// Fills an arena from a checkpoint, converting f32 and bf16 into each other. Errors: a tensor that is missing or has
/// another shape, naming it.
void read_pieces(Context& context, const ParameterStore& store, const Checkpoint& checkpoint, const std::string& prefix,
                 const Tensor& arena);

/// Writes snapshots on a thread of its own, one at a time.
class BackgroundWriter {
 public:
  BackgroundWriter(FileLayer& files, std::string directory, std::int64_t keep);
  ~BackgroundWriter();
  BackgroundWriter(const BackgroundWriter&) = delete;
  BackgroundWriter& operator=(const BackgroundWriter&) = delete;

  /// Waits for the write before, then starts this one.
  void start(Snapshot snapshot);
  /// Waits for the write under way. Returns the error of the last write, empty if it succeeded or none was started;
  /// each error is returned once.
  std::string wait();
  /// The same without waiting: empty while a write is under way.
  std::string poll_error();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace artel

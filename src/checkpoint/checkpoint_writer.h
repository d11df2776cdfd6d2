#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/background_writer.h"
#include "checkpoint/store.h"
#include "comm/communicator.h"

namespace artel {

/// Writes the checkpoints of a job of one or many ranks beside training, all ranks at the same time, into a directory
/// that all of them see. Every rank calls every method, in the same order; each returns the errors of writes that ended
/// since, the same text on every rank, empty if there were none.
class CheckpointWriter {
 public:
  CheckpointWriter(FileLayer& files, std::string directory, std::int64_t keep, Communicator& world);

  /// Ends the write before, then starts this one. `snapshot`: the pieces of this rank.
  std::string start(Snapshot snapshot);
  /// Moves a write along without waiting for disks.
  std::string poll();
  /// Ends the write under way.
  std::string finish();

 private:
  enum class Stage { idle, writing, committing };

  bool everyone(bool ready);
  void commit();
  void commit_shares_of(const std::vector<std::string>& shares);
  std::string end_commit();

  FileLayer& files_;
  std::string directory_;
  std::int64_t keep_;
  Communicator& world_;
  Stage stage_ = Stage::idle;
  Snapshot head_;      ///< without pieces, of the write under way
  std::string share_;  ///< written by the background thread, read when it is done
  std::string error_;  ///< of this rank's share or, on rank 0, of the commit
  BackgroundWriter background_;
};

}  // namespace artel

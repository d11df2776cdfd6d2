#pragma once

#include <memory>
#include <string>

#include "checkpoint/store.h"

namespace artel {

/// Writes snapshots on a thread of its own, one at a time. The methods are for one thread.
class BackgroundWriter {
 public:
  /// `files` must outlive this object and bear calls from the other thread.
  BackgroundWriter(FileLayer& files, std::string directory, std::int64_t keep);
  /// Waits for the write under way; an error that nobody asked for is lost.
  ~BackgroundWriter();
  BackgroundWriter(const BackgroundWriter&) = delete;
  BackgroundWriter& operator=(const BackgroundWriter&) = delete;

  /// Waits for the write before, then starts this one.
  void start(Snapshot snapshot);
  /// Waits for the write under way. Returns the errors of the writes so far, empty if there were none; each is returned
  /// once.
  std::string wait();
  /// The same without waiting: empty while a write is under way.
  std::string poll_error();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace artel

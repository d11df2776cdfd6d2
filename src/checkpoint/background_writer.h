#pragma once

#include <functional>
#include <memory>
#include <string>

namespace artel {

/// Does one piece of work at a time on a thread of its own: the writing of checkpoints. The methods are for one thread.
class BackgroundWriter {
 public:
  BackgroundWriter();
  /// Waits for the work under way; an error that nobody asked for is lost.
  ~BackgroundWriter();
  BackgroundWriter(const BackgroundWriter&) = delete;
  BackgroundWriter& operator=(const BackgroundWriter&) = delete;

  /// Waits for the work before, then starts this. What the work holds is gone before anyone who waits goes on.
  void start(std::function<void()> work);
  /// Whether work is under way.
  bool busy() const;
  /// Waits for the work under way. Returns what the exceptions of the work so far said, empty if there were none; each
  /// is returned once.
  std::string wait();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace artel

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "comm/communicator.h"

namespace artel {

/// What a launcher told this process in its environment.
struct Launch {
  std::string launcher;  ///< "Open MPI", "MVAPICH", "Hydra (MPICH, Intel MPI)", "Slurm" or "PMIx"
  int rank = -1;         ///< -1: not told
  int size = -1;         ///< ranks that were started; -1: not told
};

/// The launcher that started this process as one of several ranks, or as the only one; none for a process started by
/// hand. `variable`: the environment (name -> value or null), for tests.
std::optional<Launch> detect_launch(const std::function<const char*(const char*)>& variable);
/// From this process's environment.
std::optional<Launch> detect_launch();

/// MPI while it lives: initialised by the constructor, finalised by the destructor. One per process, and once only; all
/// calls of MPI, the destructor included, come from the thread that made it. Communicators must be gone before it.
class MpiSession {
 public:
  MpiSession() = default;
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;
  /// Waits for the other ranks; after an exception aborts instead, as abort(1) does.
  virtual ~MpiSession() = default;

  /// All ranks that were launched.
  virtual Communicator& world() = 0;
  /// The last act of a rank that failed, after it has written its message: ends all ranks, since the others would wait
  /// for this one. Does not return.
  [[noreturn]] virtual void abort(int exit_code) noexcept = 0;
};

/// Name and version of the MPI library that this build is linked with; empty without one.
std::string mpi_version();

struct MpiOptions : CommunicatorOptions {
  /// Longest message in bytes; longer ones are cut, since MPI counts in int. Smaller in tests.
  std::int64_t max_message_bytes = std::int64_t{1} << 30;
};

/// Initialises MPI. `launch`: what detect_launch found; its size must be that of MPI's world, or the ranks would each
/// train alone. Errors: a build without MPI; a launcher of another MPI; what MPI reports.
std::unique_ptr<MpiSession> start_mpi(const MpiOptions& options, const std::optional<Launch>& launch);

}  // namespace artel

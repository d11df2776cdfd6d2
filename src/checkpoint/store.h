#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/shape.h"
#include "util/files.h"
#include "util/json.h"

// A checkpoint is a directory step-XXXXXXXX with safetensors files and manifest.json (docs/checkpoint_format.md). It is
// written under a temporary name, fsynced and renamed, so it is there whole or not at all; then `latest` is replaced.

namespace artel {

/// A rectangle of a global tensor in host memory, as one rank holds it.
struct TensorPiece {
  std::string name;  ///< global
  Shape shape;       ///< of the global tensor
  DType dtype = DType::f32;
  Shape begin;  ///< rectangle [begin, end)
  Shape end;
  std::vector<std::uint8_t> bytes;  ///< row-major, little-endian
};

/// Everything that a checkpoint holds, copied out of the running job so that writing can go on beside training.
struct Snapshot {
  std::int64_t step = 0;
  std::int64_t tokens = 0;
  Json config;   ///< resolved
  Json data;     ///< cursor of the data order
  Json world;    ///< {"size": …, "expert": …}
  Json trainer;  ///< seconds, attempt, versions: what a resumed run carries on
  std::vector<TensorPiece> pieces;
};

/// Writes a snapshot under `directory` (…/checkpoints), commits it, replaces `latest`, and removes the oldest
/// checkpoints beyond `keep` (0: keeps all). Returns the path.
///
/// Checkpoints of this step or later ones are there when a run went back behind them: they are set aside as
/// .superseded-step-XXXXXXXX, count as the oldest, and are used only when no other verifies. What earlier deaths left
/// half written is removed first.
///
/// Errors: pieces that do not tile their tensors or lack bytes; a failing call, after which older checkpoints stand as
/// they were. An error behind the commit says that the checkpoint is there.
std::string save_checkpoint(FileLayer& files, const std::string& directory, const Snapshot& snapshot,
                            std::int64_t keep);

// The same in the steps that several ranks take, in this order; save_checkpoint is all of them for one rank. When one
// fails, discard_checkpoint gives the room back.

/// Rank 0, first: removes what earlier deaths left and makes the temporary directory.
void prepare_checkpoint(FileLayer& files, const std::string& directory, std::int64_t step);
/// Every rank: writes the pieces of `snapshot` to files of its own. Returns what commit_shares has to know of them.
std::string write_share(FileLayer& files, const std::string& directory, const Snapshot& snapshot, int rank);
/// Rank 0, last: writes the manifest over the shares of all ranks (in rank order) and commits. `head`: a snapshot whose
/// pieces do not count.
std::string commit_shares(FileLayer& files, const std::string& directory, const Snapshot& head,
                          const std::vector<std::string>& shares, std::int64_t keep);
/// Rank 0: removes what is not committed of a step.
void discard_checkpoint(FileLayer& files, const std::string& directory, std::int64_t step);

/// Paths of the committed checkpoints under `directory`, newest first, those set aside last. Whatever else lies there
/// is not among them.
std::vector<std::string> list_checkpoints(FileLayer& files, const std::string& directory);

/// A committed checkpoint, opened and checked: the manifest's checksum, format and version, every file present with the
/// sizes it must have, every tensor covered exactly once by its slices. Checksums of tensors are verified as they are
/// read. One thread at a time.
class Checkpoint {
 public:
  /// Errors: what is missing or damaged, naming file and tensor.
  Checkpoint(FileLayer& files, const std::string& path);
  ~Checkpoint();
  Checkpoint(Checkpoint&&) noexcept;

  const std::string& path() const;
  /// Every member of the manifest but "tensors" and the checksum, keys sorted.
  const Json& manifest() const;
  std::int64_t step() const;
  std::int64_t tokens() const;

  struct TensorInfo {
    Shape shape;
    DType dtype = DType::f32;
    std::size_t num_slices = 0;
  };
  const std::map<std::string, TensorInfo>& tensors() const;
  bool contains(const std::string& name) const { return tensors().count(name) > 0; }

  /// The rectangle [begin, end) of a tensor, row-major, into `out` (room for it in the tensor's own type). Slices that
  /// overlap it are read and their CRC-32C verified, each once. Errors: an unknown tensor, a checksum that differs.
  void read(const std::string& name, const Shape& begin, const Shape& end, void* out) const;
  /// Reads everything and verifies every checksum. Errors: the first that differs.
  void verify() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Opens the newest checkpoint that verifies whole; reports every damaged one, and the use of one that had been set
/// aside, through `report` (a line each). None left: an empty pointer.
std::unique_ptr<Checkpoint> open_newest(FileLayer& files, const std::string& directory,
                                        const std::function<void(const std::string&)>& report);

}  // namespace artel

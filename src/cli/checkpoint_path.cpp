#include "cli/checkpoint_path.h"

#include "util/error.h"
#include "util/text.h"

namespace artel {

std::vector<std::string> checkpoint_paths(FileLayer& files, const std::string& path) {
  if (files.exists(join_path(path, "manifest.json"))) return {path};
  for (const std::string& directory : {join_path(path, "checkpoints"), path}) {
    if (!files.is_directory(directory)) continue;
    std::vector<std::string> found = list_checkpoints(files, directory);
    if (!found.empty()) return found;
  }
  fail("checkpoint", concat("required a checkpoint or a run directory with checkpoints, found neither at ", path));
}

Checkpoint open_checkpoint(FileLayer& files, const std::string& path) {
  return Checkpoint(files, checkpoint_paths(files, path).front());
}

}  // namespace artel

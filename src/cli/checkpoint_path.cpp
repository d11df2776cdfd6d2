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
  const std::string found =
      files.is_directory(path) ? concat("the directory ", path, ", which has neither") : concat("no directory ", path);
  fail("checkpoint",
       concat("required a checkpoint or a run directory with checkpoints, found ", found, "; mend the path"));
}

Checkpoint open_checkpoint(FileLayer& files, const std::string& path) {
  return Checkpoint(files, checkpoint_paths(files, path).front());
}

}  // namespace artel

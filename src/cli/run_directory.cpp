#include "cli/run_directory.h"

#include "util/error.h"
#include "util/text.h"

namespace artel {

std::string make_run_directory(FileLayer& files, const Config& config) {
  std::string path = join_path(config.run.directory, config.run.name);
  try {
    files.make_directory(path);
  } catch (const Error& error) {
    fail("run.directory", concat("required a directory to write runs to, found ", config.run.directory, ": ",
                                 error.what(), "; set run.directory to another"));
  }
  return path;
}

}  // namespace artel

#pragma once

#include <string>

namespace artel {

/// The command line that goes on with a run that was stopped: the same words, quoted for a POSIX shell where they need
/// it, without --resume: with `never` the run could not go on, with a path it would begin there again, and without the
/// option it goes on from its own newest checkpoint.
std::string resume_command(int argc, const char* const* argv);

}  // namespace artel

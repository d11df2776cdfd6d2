#pragma once

#include <string>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace artel {

/// What was wrong with a command line that `app` could not parse: an unknown command or option with the nearest that
/// there is, else what CLI11 says; and where the help of the command in question is.
std::string usage_error(const CLI::App& app, const CLI::ParseError& error);

}  // namespace artel

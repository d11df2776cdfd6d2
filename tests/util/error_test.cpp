#include "util/error.h"

#include <string>

#include "support/catch.h"

using namespace artel;

TEST_CASE("An error is one line, whatever the names that it speaks of") {
  const std::string name("a\0b\nc\x7f", 6);
  CHECK(std::string(Error("file " + name, "required a name, found " + name).what()) ==
        "[file a b c ] required a name, found a b c ");
  CHECK(std::string(Error("file", "caf\xc3\xa9").what()) == "[file] caf\xc3\xa9");
}

#pragma once

#include <string>
#include <vector>

#include "comm/communicator.h"

namespace artel {

/// One check that holds on every transport and for every number of ranks; every rank of the world calls it.
struct CommunicatorCase {
  std::string name;
  void (*run)(Communicator& world);  ///< throws Error where the check fails
};
const std::vector<CommunicatorCase>& communicator_cases();

/// Runs them all, each between barriers; the Error of one names it.
void run_communicator_cases(Communicator& world);

}  // namespace artel

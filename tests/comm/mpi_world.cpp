#include "comm/ranks_world.h"
#include "util/error.h"

namespace artel {
namespace {

class MpiWorld final : public RanksWorld {
 public:
  explicit MpiWorld(Communicator& host) : host_(host) {}
  Communicator& world() override { return host_; }
  std::string take_reports() override { return {}; }
  void stop_device() override { fail("tests", "required ranks with a device to stop, found ranks without"); }
  void break_transfer() override { fail("tests", "required ranks with a device to break, found ranks without"); }

 private:
  Communicator& host_;
};

}  // namespace

std::unique_ptr<RanksWorld> make_ranks_world(Communicator& host) {
  return std::make_unique<MpiWorld>(host);
}

}  // namespace artel

int main(int argc, char** argv) {
  return artel::run_ranks_main(argc, argv);
}

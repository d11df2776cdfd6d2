#include "comm/communicator.h"

namespace artel {

void CommunicationCounters::add(const CommunicationCounters& other, int sign) {
  for (std::size_t i = 0; i < num_purposes; ++i) {
    bytes_sent[i] += sign * other.bytes_sent[i];
    num_operations[i] += sign * other.num_operations[i];
    seconds_waited[i] += sign * other.seconds_waited[i];
  }
}

const char* purpose_name(Purpose purpose) {
  switch (purpose) {
    case Purpose::dispatch:
      return "dispatch";
    case Purpose::combine:
      return "combine";
    case Purpose::gradients:
      return "gradients";
    case Purpose::parameters:
      return "parameters";
    case Purpose::statistics:
      return "statistics";
    case Purpose::checkpoint:
      return "checkpoint";
    case Purpose::control:
      return "control";
  }
  return "an unknown purpose";
}

RowPieces consecutive_pieces(std::span<const std::int64_t> counts) {
  RowPieces pieces;
  std::int64_t begin = 0;
  for (const std::int64_t count : counts) {
    pieces.counts.push_back(count);
    pieces.offsets.push_back(begin);
    begin += count;
  }
  return pieces;
}

std::vector<std::int64_t> even_shares(std::int64_t total, int num) {
  std::vector<std::int64_t> shares(static_cast<std::size_t>(num), total / num);
  for (std::int64_t i = 0; i < total % num; ++i) ++shares[static_cast<std::size_t>(i)];
  return shares;
}

}  // namespace artel

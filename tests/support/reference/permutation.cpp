#include "support/reference/permutation.h"

namespace artel::reference {

Order sort_by_expert(const Ids& ids, std::size_t num_experts) {
  Order order;
  order.row_of_slot.resize(ids.size());
  order.offsets.push_back(0);
  for (std::size_t expert = 0; expert < num_experts; ++expert) {
    for (std::size_t slot = 0; slot < ids.size(); ++slot) {
      if (static_cast<std::size_t>(ids[slot]) != expert) continue;
      order.row_of_slot[slot] = static_cast<std::int32_t>(order.slot_of_row.size());
      order.slot_of_row.push_back(static_cast<std::int32_t>(slot));
    }
    order.offsets.push_back(static_cast<std::int32_t>(order.slot_of_row.size()));
  }
  return order;
}

Vector gather_rows(const Vector& x, const Ids& index, std::size_t row_size) {
  Vector y;
  for (const std::int32_t row : index) {
    for (std::size_t i = 0; i < row_size; ++i) y.push_back(x[static_cast<std::size_t>(row) * row_size + i]);
  }
  return y;
}

Vector scatter_add_rows(const Vector& x, const Ids& index, Vector y, std::size_t row_size) {
  for (std::size_t row = 0; row < index.size(); ++row) {
    for (std::size_t i = 0; i < row_size; ++i) {
      y[static_cast<std::size_t>(index[row]) * row_size + i] += x[row * row_size + i];
    }
  }
  return y;
}

Vector sum_rows(const Vector& x, const Ids& token_offsets, const Ids& row_of_slot, std::size_t row_size) {
  Vector y((token_offsets.size() - 1) * row_size, 0.0);
  for (std::size_t t = 0; t + 1 < token_offsets.size(); ++t) {
    for (std::int32_t slot = token_offsets[t]; slot < token_offsets[t + 1]; ++slot) {
      const auto row = static_cast<std::size_t>(row_of_slot[static_cast<std::size_t>(slot)]);
      for (std::size_t i = 0; i < row_size; ++i) y[t * row_size + i] += x[row * row_size + i];
    }
  }
  return y;
}

Vector swap_leading(const Vector& x, std::size_t outer, std::size_t middle, std::size_t inner) {
  Vector y(x.size());
  for (std::size_t p = 0; p < outer; ++p) {
    for (std::size_t r = 0; r < middle; ++r) {
      for (std::size_t c = 0; c < inner; ++c) y[(r * outer + p) * inner + c] = x[(p * middle + r) * inner + c];
    }
  }
  return y;
}

}  // namespace artel::reference

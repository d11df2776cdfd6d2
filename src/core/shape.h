#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace artel {

/// Up to four dimensions, outermost first.
class Shape {
 public:
  static constexpr int max_rank = 4;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims);

  int rank() const { return rank_; }
  std::int64_t operator[](int i) const { return dims_[static_cast<std::size_t>(i)]; }
  std::int64_t numel() const;
  /// Elements of one index of dimension 0 (1 for rank 0 and 1).
  std::int64_t inner() const;
  void push_back(std::int64_t dim);
  void set(int i, std::int64_t dim) { dims_[static_cast<std::size_t>(i)] = dim; }

  bool operator==(const Shape& other) const;

  /// "[4, 256]"
  std::string to_string() const;

 private:
  std::array<std::int64_t, max_rank> dims_{};
  int rank_ = 0;
};

}  // namespace artel

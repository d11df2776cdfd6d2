#include "core/shape.h"

#include "support/catch.h"
#include "support/error_text.h"

using namespace artel;

TEST_CASE("A shape counts its elements and those of one row") {
  const Shape shape{3, 4, 5};
  CHECK(shape.rank() == 3);
  CHECK(shape[1] == 4);
  CHECK(shape.numel() == 60);
  CHECK(shape.inner() == 20);
  CHECK(Shape{7}.inner() == 1);
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape{}.inner() == 1);
  CHECK(Shape{0, 5}.numel() == 0);
  CHECK(Shape{0, 5}.inner() == 5);
}

TEST_CASE("Shapes are equal when rank and dimensions are") {
  CHECK(Shape{2, 3} == Shape{2, 3});
  CHECK_FALSE(Shape{2, 3} == Shape{3, 2});
  CHECK_FALSE(Shape{2} == Shape{2, 1});
  CHECK_FALSE(Shape{2, 0} == Shape{2});
  Shape grown{2};
  grown.push_back(3);
  CHECK(grown == Shape{2, 3});
  grown.set(0, 5);
  CHECK(grown == Shape{5, 3});
}

TEST_CASE("A shape prints as in error texts") {
  CHECK(Shape{}.to_string() == "[]");
  CHECK(Shape{4}.to_string() == "[4]");
  CHECK(Shape{4, 256}.to_string() == "[4, 256]");
}

TEST_CASE("A shape refuses a fifth dimension and a negative one") {
  CHECK(error_text([] { Shape({1, 2, 3, 4, 5}); }) == "[shape] required at most 4 dimensions");
  CHECK(error_text([] { Shape({2, -1}); }) == "[shape] required dimensions of at least 0, found -1");
}

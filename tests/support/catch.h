#pragma once
// The one place that includes Catch2, whose header moved between major versions 2 and 3.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif
#if __has_include(<catch2/catch_all.hpp>)
using Catch::Approx;
#endif

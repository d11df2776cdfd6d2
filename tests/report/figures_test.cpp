#include <cmath>
#include <limits>

#include "report/axis.h"
#include "report/chart.h"
#include "report/format.h"
#include "report/heat_map.h"
#include "report/interval_chart.h"
#include "report/markup_check.h"
#include "report/png.h"
#include "support/catch.h"
#include "util/json.h"

namespace artel {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST_CASE("ticks are round, within the range and no more than asked for") {
  CHECK(round_ticks(0.0, 2.4576, 7) == std::vector<double>{0.0, 0.5, 1.0, 1.5, 2.0});
  CHECK(round_ticks(0.0, 3.0, 10, true) == std::vector<double>{0.0, 1.0, 2.0, 3.0});
  for (const double high : {1e-7, 0.03, 1.0, 37.0, 9.99e15}) {
    const auto ticks = round_ticks(-0.3 * high, high, 6);
    CHECK(ticks.size() >= 2);
    CHECK(ticks.size() <= 6);
    CHECK(ticks.front() >= -0.3 * high);
    CHECK(ticks.back() <= high * (1.0 + 1e-9));
  }
  CHECK(round_ticks(1.0, 1.0, 5).size() == 1);
  for (const double far : {9.3e18, 1e300}) {
    CHECK(round_ticks(0.0, far, 8, true).size() <= 8);
    CHECK(round_ticks(-far, far, 8).size() >= 2);
    CHECK(round_ticks(far, far * (1.0 + 1e-15), 8).size() <= 8);
  }
  CHECK(tick_labels({1.82, 1.84, 1.86}) == std::vector<std::string>{"1.82", "1.84", "1.86"});
  CHECK(tick_labels({0.0, 50.0, 100.0}) == std::vector<std::string>{"0", "50", "100"});
  CHECK(tick_labels({-0.5, 0.0, 0.5}) == std::vector<std::string>{"-0.5", "0.0", "0.5"});
}

TEST_CASE("axes choose the unit in which the largest value is short") {
  CHECK(unit_for(Quantity::tokens, 2.4e6).titled("Tokens") == "Tokens (million)");
  CHECK(unit_for(Quantity::flops, 6.2e13).symbol == "TFLOP");
  CHECK(unit_for(Quantity::flops, 3e24).symbol == "ZFLOP");
  CHECK(unit_for(Quantity::seconds, 119.0).symbol == "min");
  CHECK(unit_for(Quantity::seconds, 59.0).symbol == "s");
  CHECK(unit_for(Quantity::plain, 1e9).titled("Layer") == "Layer");
}

TEST_CASE("numbers are written as tables need them") {
  CHECK(format_flops(1.77e9) == "1.77 G");
  CHECK(format_flops(6.2e17) == "620 P");
  CHECK(format_flops(1.5e21) == "1.50e21");
  CHECK(format_flops(kNaN) == "?");
  CHECK(format_delta(0.01234) == "+0.0123");
  CHECK(format_delta(-0.01234) == "-0.0123");
  CHECK(format_interval(Interval{-0.5, 0.25}) == "[-0.5000, +0.2500]");
  CHECK(format_p(0.0004) == "< 0.001");
  CHECK(format_p(std::nullopt) == "-");
  CHECK(format_mean(1.8, 0.01) == "1.8000 ± 0.0100");
  CHECK(format_mean(std::nullopt, std::nullopt) == "-");
  CHECK(display_width("für±") == 4);
  CHECK(shortened("abcdef", 4) == "abc…");
  CHECK(shortened("äöü", 3) == "äöü");
  CHECK(shortened("äöüß", 3) == "äö…");
}

ChartSpec falling_chart() {
  ChartSpec spec;
  spec.label = "Loss of <b> & \"c\"";
  spec.x_title = "Tokens";
  spec.x_quantity = Quantity::tokens;
  spec.y_title = "Loss (nats)";
  spec.cut_share = 0.1;
  spec.enlarge_end = true;
  for (size_t s = 0; s < 2; ++s) {
    ChartSeries series;
    series.name = s == 0 ? "<uoe & co>" : "moe";
    series.style = s;
    for (int i = 1; i <= 40; ++i) {
      const double y = 1.8 + 2.0 / i + 0.02 * static_cast<double>(s);
      series.line.push_back({1e5 * i, y});
      series.low.push_back(y - 0.01);
      series.high.push_back(y + 0.01);
    }
    series.raw.push_back(series.line);
    spec.series.push_back(series);
  }
  return spec;
}

TEST_CASE("a chart is well-formed in every size, escapes names and carries its geometry") {
  const ChartSpec spec = falling_chart();
  for (const FigureSize size : {FigureSize::full, FigureSize::wide, FigureSize::narrow}) {
    const std::string svg = render_chart(spec, size);
    CHECK(markup_error(svg) == "");
    CHECK(svg.find("&lt;uoe &amp; co&gt;") != std::string::npos);
    CHECK(svg.find("Tokens (million)") != std::string::npos);
    CHECK(svg.find("data-domain=\"0 4\"") != std::string::npos);
    CHECK(svg.find("class=\"box\"") != std::string::npos);
    CHECK(svg.find("nan") == std::string::npos);
  }
}

TEST_CASE("a chart without room for the enlargement does without it") {
  ChartSpec spec = falling_chart();
  for (ChartSeries& series : spec.series) {
    for (ChartPoint& point : series.line) point.y = 5.0 - point.y;
    series.low.clear();
    series.high.clear();
    series.raw.clear();
  }
  CHECK(render_chart(spec, FigureSize::wide).find("class=\"box\"") == std::string::npos);
}

TEST_CASE("charts of one point, of equal values and of nothing are drawn") {
  ChartSpec spec;
  spec.y_title = "y";
  CHECK(markup_error(render_chart(spec, FigureSize::wide)) == "");
  spec.series = {ChartSeries{"a", 0, {{3.0, 1.0}}, {}, {}, {}, false}};
  CHECK(markup_error(render_chart(spec, FigureSize::wide)) == "");
  CHECK(render_chart(spec, FigureSize::wide).find("<circle") != std::string::npos);
  spec.series[0].line = {{1.0, 2.0}, {2.0, 2.0}, {3.0, kNaN}};
  const std::string svg = render_chart(spec, FigureSize::narrow);
  CHECK(markup_error(svg) == "");
  CHECK(svg.find("nan") == std::string::npos);
}

TEST_CASE("bands far wider than the curves do not flatten them") {
  ChartSpec spec;
  spec.series = {ChartSeries{"a", 0, {{0.0, 0.0}, {1.0, 1.0}}, {-100.0, -100.0}, {100.0, 100.0}, {}, false}};
  const std::string svg = render_chart(spec, FigureSize::wide);
  CHECK(svg.find(">100<") == std::string::npos);
  CHECK(svg.find(">2<") != std::string::npos);
}

TEST_CASE("a chart's data hold every series in the unit of the axis, both ends included") {
  const Json data = parse_json(chart_data(falling_chart(), 10), "data");
  CHECK(data["x"] == "Tokens (million)");
  REQUIRE(data["series"].size() == 2);
  const Json& series = data["series"][0];
  CHECK(series["name"] == "<uoe & co>");
  CHECK(series["style"] == "s0");
  REQUIRE(series["x"].size() == 10);
  CHECK(series["x"][0] == 0.1);
  CHECK(series["x"][9] == 4.0);
  CHECK(series["y"][9].get<double>() == Approx(1.85));
  CHECK(series["low"].size() == 10);
}

TEST_CASE("an interval chart shows every row's text") {
  IntervalChartSpec spec;
  spec.x_title = "Difference";
  spec.reference = 0.0;
  spec.margin = 0.02;
  spec.margin_label = "margin";
  spec.rows = {{"a − b", "-0.0100 [x]", 1, -0.01, Interval{-0.02, 0.0}, {-0.012, -0.008}},
               {"<c>", "no verdict", 2, std::nullopt, std::nullopt, {}}};
  for (const FigureSize size : {FigureSize::wide, FigureSize::narrow}) {
    const std::string svg = render_interval_chart(spec, size);
    CHECK(markup_error(svg) == "");
    for (const char* part : {"a − b", "-0.0100 [x]", "&lt;c&gt;", "no verdict", "whisker", "class=\"zone\""}) {
      CHECK(svg.find(part) != std::string::npos);
    }
  }
}

TEST_CASE("a heat map has a panel per layer and an image per panel") {
  HeatMapSpec spec;
  spec.x_title = "Tokens";
  spec.x_end = 2.5e6;
  for (int layer = 0; layer < 5; ++layer) {
    spec.panels.push_back({"Layer " + std::to_string(layer), 2, 3, {1.0, 0.0, 4.0, 0.25, kNaN, 100.0}});
  }
  for (const FigureSize size : {FigureSize::full, FigureSize::narrow}) {
    const std::string svg = render_heat_map(spec, size);
    CHECK(markup_error(svg) == "");
    CHECK(svg.find("Layer 4") != std::string::npos);
    size_t num_images = 0;
    for (size_t at = svg.find("<image"); at != std::string::npos; at = svg.find("<image", at + 1)) ++num_images;
    CHECK(num_images == 6);  // the colour scale is one
  }
}

TEST_CASE("a heat map names its rows once a line and numbers its columns, and its data hold every cell") {
  HeatMapSpec spec;
  spec.x_title = "Expert";
  spec.numbered_columns = true;
  spec.row_names = {"bible", "a<b>&c in a long name"};
  for (int layer = 0; layer < 2; ++layer) {
    spec.panels.push_back({"Layer " + std::to_string(layer), 2, 3, {1.0, 0.0, 4.0, 0.25, kNaN, 0.12345}});
  }
  const std::string svg = render_heat_map(spec, FigureSize::wide);
  CHECK(markup_error(svg) == "");
  CHECK(svg.find(">bible<") == svg.rfind(">bible<"));
  CHECK(svg.find(">a&lt;b&gt;&amp;c in a lo…<") != std::string::npos);
  for (const char* tick : {">0<", ">1<", ">2<", ">Expert<"}) CHECK(svg.find(tick) != std::string::npos);
  const Json data = parse_json(heat_map_data(spec, 3), "data");
  REQUIRE(data["series"].size() == 4);
  CHECK(data["series"][3]["name"] == "Layer 1 a<b>&c in a long name");
  CHECK(data["series"][3]["x"] == Json::array({0, 1, 2}));
  CHECK(data["series"][3]["y"] == Json::array({0.25, nullptr, 0.123}));
}

uint32_t big_endian(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

std::string decoded_base64(const std::string& text) {
  const std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int num_bits = 0;
  for (const char letter : text) {
    if (letter == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(letters.find(letter));
    num_bits += 6;
    if (num_bits < 8) continue;
    num_bits -= 8;
    bytes += static_cast<char>(bits >> num_bits & 255U);
  }
  return bytes;
}

TEST_CASE("a PNG holds its pixels in stored blocks with the prescribed checksums") {
  constexpr size_t width = 400;
  constexpr size_t height = 300;  // more than one stored block
  std::vector<uint8_t> pixels(width * height);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 7 % 3);
  const std::string png = encode_png(width, height, pixels, {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}});
  CHECK(png.substr(0, 8) == "\x89PNG\r\n\x1a\n");
  CHECK(png.substr(png.size() - 8) == "IEND\xAE\x42\x60\x82");  // the CRC of an empty IEND is a known constant
  CHECK(big_endian(png, 16) == width);
  CHECK(big_endian(png, 20) == height);
  const size_t data = png.find("IDAT") + 4;
  std::string rows;
  uint32_t low = 1;
  uint32_t high = 0;
  size_t at = data + 2;
  for (bool last = false; !last;) {
    last = png[at] == 1;
    const auto size =
        static_cast<size_t>(static_cast<unsigned char>(png[at + 1]) | static_cast<unsigned char>(png[at + 2]) << 8);
    CHECK(png[at + 3] == static_cast<char>(~png[at + 1]));
    rows += png.substr(at + 5, size);
    at += 5 + size;
  }
  REQUIRE(rows.size() == (width + 1) * height);
  for (const char byte : rows) {
    low = (low + static_cast<unsigned char>(byte)) % 65521;
    high = (high + low) % 65521;
  }
  CHECK(big_endian(png, at) == (high << 16 | low));
  CHECK(at + 4 - data == big_endian(png, data - 8));
  for (const size_t pixel : {size_t{0}, size_t{1}, width, pixels.size() - 1}) {
    CHECK(rows[pixel / width * (width + 1) + 1 + pixel % width] == static_cast<char>(pixels[pixel]));
  }
  CHECK_THROWS_AS(encode_png(2, 2, {0, 1, 2, 3}, {{0, 0, 0}}), Error);
  CHECK_THROWS_AS(encode_png(2, 2, {0}, {{0, 0, 0}}), Error);
}

TEST_CASE("the palette of a PNG has its transparency between its colours and its pixels") {
  const std::string png = encode_png(2, 1, {0, 1}, {{1, 2, 3}, {4, 5, 6, 0}});
  const size_t colours = png.find("PLTE");
  const size_t alphas = png.find("tRNS");
  CHECK(colours < alphas);
  CHECK(alphas < png.find("IDAT"));
  CHECK(big_endian(png, colours - 4) == 6);
  CHECK(png.substr(colours + 4, 6) == "\1\2\3\4\5\6");
  CHECK(big_endian(png, alphas - 4) == 2);
  CHECK(png.substr(alphas + 4, 2) == std::string("\xFF\0", 2));
}

TEST_CASE("cells of a heat map without data are transparent, all others are not") {
  HeatMapSpec spec;
  spec.x_title = "Tokens";
  spec.x_end = 1.0;
  spec.panels = {{"Layer 0", 1, 2, {kNaN, 0.0}}};
  const std::string svg = render_heat_map(spec, FigureSize::wide);
  std::string alphas(128, '\xFF');
  alphas += '\0';
  const size_t begin = svg.rfind("base64,") + 7;
  const std::string png = decoded_base64(svg.substr(begin, svg.find('"', begin) - begin));
  CHECK(png.substr(png.find("tRNS") + 4, 129) == alphas);
  const size_t rows = png.find("IDAT") + 4 + 2 + 5;  // after the headers of stream and block: filter, no data, dead
  CHECK(png.substr(rows, 3) == std::string("\0\x80\0", 3));
}

TEST_CASE("base64 pads as the standard's examples do") {
  CHECK(encode_base64("") == "");
  CHECK(encode_base64("f") == "Zg==");
  CHECK(encode_base64("fo") == "Zm8=");
  CHECK(encode_base64("foo") == "Zm9v");
  CHECK(encode_base64("foobar") == "Zm9vYmFy");
}

}  // namespace
}  // namespace artel

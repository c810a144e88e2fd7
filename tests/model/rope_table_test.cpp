// RoPE angles against 200-bit arithmetic (tests/model/make_rope_fixture.py).
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

extern "C" {
#include "model/rope_table.h"
}

namespace
{

double number(std::istream &in)
{
    std::string text;
    in >> text;
    return std::strtod(text.c_str(), nullptr);
}

// Whether `got` is the f64 nearest to the true value, or its neighbour where both are within 0.501 ulp.
bool as_good_as(double got, double rounded) { return got == rounded || std::nextafter(got, rounded) == rounded; }

} // namespace

TEST(RopeTable, InverseFrequenciesAreCorrectlyRoundedAndAnglesAccurate)
{
    std::ifstream file(std::string(TN_SOURCE_DIR) + "/tests/data/model/rope.txt");
    size_t n_inverse = 0, n_angles = 0, n_off = 0;
    for (std::string line; std::getline(file, line);) {
        std::istringstream in(line);
        std::string kind;
        in >> kind;
        if (kind == "inv") {
            const double theta = number(in), scale = number(in);
            uint32_t head_dim, i;
            in >> head_dim >> i;
            std::vector<double> inverse(head_dim / 2);
            tn_rope_inverse_frequencies(theta, scale, nullptr, head_dim, inverse.data());
            EXPECT_EQ(inverse[i], number(in)) << line;
            n_inverse++;
        } else {
            const double angle = number(in), want_sin = number(in), want_cos = number(in);
            double s, c;
            tn_rope_sincos(angle, &s, &c);
            EXPECT_TRUE(as_good_as(s, want_sin)) << line;
            EXPECT_TRUE(as_good_as(c, want_cos)) << line;
            EXPECT_EQ(static_cast<float>(s), static_cast<float>(want_sin)) << line;
            EXPECT_EQ(static_cast<float>(c), static_cast<float>(want_cos)) << line;
            n_off += (s != want_sin) + (c != want_cos);
            n_angles++;
        }
    }
    EXPECT_GE(n_inverse, 100u);
    EXPECT_EQ(n_angles, 600u);
    EXPECT_LE(n_off, 6u); // 0.501 ulp: at most a few in a thousand differ from the nearest f64
}

TEST(RopeTable, FactorsDivideTheFrequencies)
{
    const float factors[4] = {1.0f, 2.0f, 8.0f, 3.68425f};
    double plain[4], divided[4];
    tn_rope_inverse_frequencies(5e5, 1.0, nullptr, 8, plain);
    tn_rope_inverse_frequencies(5e5, 1.0, factors, 8, divided);
    EXPECT_EQ(divided[0], plain[0]);
    EXPECT_EQ(divided[1], plain[1] / 2);
    EXPECT_EQ(divided[2], plain[2] / 8);
    EXPECT_NEAR(divided[3], plain[3] / 3.68425f, 1e-20);
}

TEST(RopeTable, ARowHasCosinesThenSinesOfPositionTimesFrequency)
{
    double inverse[2];
    tn_rope_inverse_frequencies(10000.0, 1.0, nullptr, 4, inverse);
    EXPECT_EQ(inverse[0], 1.0);
    EXPECT_EQ(inverse[1], 0.01);
    float row[4];
    tn_rope_row(inverse, 2, 0, row);
    EXPECT_EQ(row[0], 1.0f);
    EXPECT_EQ(row[1], 1.0f);
    EXPECT_EQ(row[2], 0.0f);
    EXPECT_EQ(row[3], 0.0f);
    tn_rope_row(inverse, 2, 300, row);
    EXPECT_NEAR(row[0], std::cos(300.0), 1e-7);
    EXPECT_NEAR(row[1], std::cos(3.0), 1e-7);
    EXPECT_NEAR(row[2], std::sin(300.0), 1e-7);
    EXPECT_NEAR(row[3], std::sin(3.0), 1e-7);
}

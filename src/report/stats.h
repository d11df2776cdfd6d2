#pragma once
// Small-sample statistics of the comparison: Student's t, paired and Welch differences, equivalence, Holm's correction;
// rank correlation and divergence for the inspection of routing.

#include <span>
#include <vector>

namespace artel {

/// The regularised incomplete beta function I_x(a, b), for a, b > 0 and x in [0, 1].
/// Throws Error outside of that range.
double incomplete_beta(double a, double b, double x);

/// P(T <= t) for Student's t with `degrees_of_freedom` > 0 (need not be whole).
double student_t_cdf(double t, double degrees_of_freedom);

/// The t with P(T <= t) = probability, for probability in (0, 1).
double student_t_quantile(double probability, double degrees_of_freedom);

/// Arithmetic mean of at least one value.
double mean_of(std::span<const double> values);

/// Sample standard deviation (divisor n - 1) of at least two values.
double standard_deviation_of(std::span<const double> values);

struct Interval {
  double low = 0.0;
  double high = 0.0;
};

/// An estimated difference of two means, a minus b, with its standard error.
struct MeanDifference {
  double delta = 0.0;
  double standard_error = 0.0;
  double degrees_of_freedom = 1.0;
};

/// Mean of a[i] - b[i], one pair per seed: removes what both sides owe to the seed. Needs at least two pairs.
MeanDifference paired_difference(std::span<const double> a, std::span<const double> b);

/// Difference of the means of two independent samples of unequal variance, with Welch-Satterthwaite degrees of freedom.
/// Needs at least two values on each side. Source: B. L. Welch, Biometrika 34 (1947).
MeanDifference welch_difference(std::span<const double> a, std::span<const double> b);

/// The interval that holds the true difference with probability `confidence`, for instance 0.95.
Interval confidence_interval(const MeanDifference& difference, double confidence);

/// Two-sided p value of "the true difference is zero".
double two_sided_p_value(const MeanDifference& difference);

/// Outcome of two one-sided tests at 5 %: the difference is smaller than `margin` in size when the 90 % interval lies
/// within (-margin, margin). Source: D. J. Schuirmann, J. Pharmacokinet. Biopharm. 15 (1987).
struct Equivalence {
  double margin = 0.0;
  double p_value = 1.0;
  Interval ci90;
  bool equivalent = false;
};

/// Tests |true difference| < margin, for margin > 0.
Equivalence equivalence_test(const MeanDifference& difference, double margin);

/// p values adjusted for being looked at together, in the order given. Source: S. Holm, Scand. J. Stat. 6 (1979).
std::vector<double> holm_adjusted(std::span<const double> p_values);

/// Ranks from 1 in ascending order; equal values share the mean of their ranks.
std::vector<double> ranks_of(std::span<const double> values);

/// Rank correlation of the pairs (a[i], b[i]): the linear correlation of their ranks. NaN when all values of a side are
/// equal. Needs at least two pairs. Source: C. Spearman, Am. J. Psychol. 15 (1904).
double spearman(std::span<const double> a, std::span<const double> b);

/// The value below which the share `probability` of at least one value lies, interpolated linearly between neighbours.
double quantile_of(std::vector<double> values, double probability);

/// How different the distributions behind rows of counts are, each row weighing the same: the mean divergence of a row
/// from the mean of the rows, over the logarithm of the number of rows. 0: all the same; 1: no two rows share a column.
/// Rows without counts are left out; NaN with fewer than two others. Source: J. Lin, IEEE Trans. Inf. Theory 37 (1991).
double relative_divergence(const std::vector<std::vector<double>>& rows);

}  // namespace artel

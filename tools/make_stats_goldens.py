#!/usr/bin/env python3
"""Writes tests/report/stats_goldens.json, the reference values of src/report/stats.cpp, with SciPy.

    pip install scipy && python3 tools/make_stats_goldens.py
"""

import json
import pathlib

import numpy as np
from scipy import special, stats


def beta_cases():
    shapes = [0.5, 1.0, 1.5, 2.0, 7.25, 40.0, 250.0]
    points = [0.0, 1e-9, 1e-3, 0.1, 0.37, 0.5, 0.82, 0.999, 1.0]
    return [[a, b, x, float(special.betainc(a, b, x))] for a in shapes for b in shapes for x in points]


def t_cases():
    degrees = [0.7, 1.0, 2.0, 2.5, 3.0, 4.0, 7.9, 18.0, 120.0, 5000.0]
    values = [-60.0, -4.3, -1.0, -0.02, 0.0, 0.1, 0.3, 1.96, 12.7, 300.0]
    probabilities = [1e-6, 0.005, 0.025, 0.05, 0.31, 0.5, 0.8, 0.95, 0.975, 0.9995]
    cdf = [[t, df, float(stats.t.cdf(t, df))] for t in values for df in degrees]
    quantile = [[p, df, float(stats.t.ppf(p, df))] for p in probabilities for df in degrees]
    return cdf, quantile


def equivalence_p(a, b, margin, paired):
    test = stats.ttest_rel if paired else lambda x, y, **kw: stats.ttest_ind(x, y, equal_var=False, **kw)
    above = test(np.asarray(a) + margin, b, alternative="greater").pvalue
    below = test(np.asarray(a) - margin, b, alternative="less").pvalue
    return float(max(above, below))


def sample_cases(rng):
    cases = []
    for size_a, size_b, shift, noise in [
        (2, 2, 0.02, 0.01), (3, 3, 0.0, 0.004), (3, 3, -0.03, 0.002), (5, 5, 0.004, 0.004),
        (5, 3, 0.01, 0.01), (10, 10, -0.001, 0.02), (2, 9, 0.1, 0.05), (30, 25, 0.0, 0.01),
    ]:
        a = [float(v) for v in 1.8 + shift + noise * rng.standard_normal(size_a)]
        b = [float(v) for v in 1.8 + 0.7 * noise * rng.standard_normal(size_b)]
        margin = 0.015
        case = {"a": a, "b": b, "margin": margin, "mean_a": float(np.mean(a)), "sd_a": float(np.std(a, ddof=1))}
        welch = stats.ttest_ind(a, b, equal_var=False)
        case["welch"] = describe(welch, np.mean(a) - np.mean(b), equivalence_p(a, b, margin, paired=False))
        if size_a == size_b:
            paired = stats.ttest_rel(a, b)
            difference = np.asarray(a) - np.asarray(b)
            case["paired"] = describe(paired, difference.mean(), equivalence_p(a, b, margin, paired=True))
        cases.append(case)
    return cases


def rank_cases(rng):
    """[a, b, correlation]; values rounded to different depths, so that some are equal."""
    cases = []
    for size, digits, slope in [(2, 6, 1.0), (3, 1, -1.0), (5, 0, 0.3), (16, 6, 0.5), (16, 1, 0.5), (16, 0, -0.2),
                                (64, 6, 0.0), (64, 1, 0.9), (300, 0, 0.1)]:
        a = np.round(rng.standard_normal(size), digits)
        b = np.round(slope * a + rng.standard_normal(size), digits)
        if len(set(a)) > 1 and len(set(b)) > 1:
            cases.append([list(a), list(b), float(stats.spearmanr(a, b).statistic)])
    return cases


def divergence_cases(rng):
    """[rows of counts, relative divergence, quantiles of the first row at 0.25, 0.5 and 0.9]."""
    cases = []
    for num_rows, num_columns in [(2, 2), (2, 16), (10, 16), (3, 64)]:
        rows = rng.integers(0, 50, (num_rows, num_columns)).astype(float)
        if num_rows == 10:
            rows[:, :6] = 0.0
        shares = rows / rows.sum(axis=1, keepdims=True)
        divergence = np.mean([stats.entropy(row, shares.mean(axis=0)) for row in shares]) / np.log(num_rows)
        cases.append([rows.tolist(), float(divergence), np.quantile(rows[0], [0.25, 0.5, 0.9]).tolist()])
    return cases


def describe(test, delta, equivalence):
    ci95 = test.confidence_interval(0.95)
    ci90 = test.confidence_interval(0.90)
    return {
        "delta": float(delta), "df": float(test.df), "p_value": float(test.pvalue),
        "ci95": [float(ci95.low), float(ci95.high)], "ci90": [float(ci90.low), float(ci90.high)],
        "equivalence_p_value": equivalence,
    }


def main():
    cdf, quantile = t_cases()
    goldens = {
        "incomplete_beta": beta_cases(),
        "student_t_cdf": cdf,
        "student_t_quantile": quantile,
        "samples": sample_cases(np.random.default_rng(20250117)),
        "rank_correlations": rank_cases(np.random.default_rng(20250118)),
        "divergences": divergence_cases(np.random.default_rng(20250119)),
    }
    path = pathlib.Path(__file__).resolve().parent.parent / "tests" / "report" / "stats_goldens.json"
    lines = [f'"{key}": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]" for key, rows in goldens.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(path, sum(len(rows) for rows in goldens.values()), "cases")


if __name__ == "__main__":
    main()

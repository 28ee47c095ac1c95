"""SciPy's values of every statistic that the judgement rests on, and the policy's worked examples 4 to 9 and 12 worked
through with them: `python3 tests/data/scipy-values.py > tests/data/scipy.json`. The tests that hold us to them are in
`tests/scipy.rs` and, for what is private, in `src/model/tests.rs`, `src/evidence/seen.rs` and `src/verify/mod.rs`.

Needs SciPy (its version is in the output) and NumPy. Nothing here is shared with the Rust code but the formulas."""

import json

import numpy as np
import scipy
from scipy import stats

ALPHA = np.geomspace(0.5, 12.0, 40)
TEMPER = 25.0


def gamma():
    rows = []
    for mean in (1e-6, 0.001, 0.07, 0.5, 1.0, 3.0, 96.6, 5000.0):
        for shape in (0.05, 0.5, 1.0, 2.0, 5.5, 40.0, 400.0):
            variance = mean * mean / shape
            d = stats.gamma(shape, scale=mean / shape)
            rows.append([mean, variance, float(d.ppf(0.95)), [[f * mean, float(d.cdf(f * mean))] for f in (0.01, 0.3, 1.0, 2.0, 7.0)]])
    return rows


def survival(alpha, u, y):
    return (y / u) ** -alpha * np.exp(-(y - u) / TEMPER) if np.isfinite(y) else 0.0 * alpha


def posterior(u=1.0, intervals=(), power=1.0):
    """Weights of ALPHA: the prior, and each interval's chance to the power of its count."""
    w = ALPHA**12 * np.exp(-4 * ALPHA)
    for lo, hi, n in intervals:
        w = w * (survival(ALPHA, u, lo) - survival(ALPHA, u, hi)) ** (n * power)
    return w / w.sum()


def tail(u, exposure, clusters, count, prior, intervals, at):
    w = posterior(u, intervals, clusters / count if count else 1.0)
    rate = (clusters + 0.5) / (exposure + 0.5 / prior) * (count / clusters if clusters else 1.0)
    return {
        "rate": rate,
        "alpha": float(w @ ALPHA),
        "survival": [[y, float(w @ survival(ALPHA, u, y))] for y in at],
        "false_restarts": [[y, rate * float(w @ survival(ALPHA, u, y))] for y in at],
    }


def factor(n):
    z = stats.norm.ppf(0.99)
    return float(stats.nct.ppf(0.95, n - 1, z * np.sqrt(n)) / np.sqrt(n))


def start_bound(seconds):
    y = np.log(seconds)
    return float(np.exp(y.mean() + factor(len(y)) * y.std(ddof=1)))


def starts():
    rng = np.random.default_rng(12)
    rows = [[21, 24, 19, 33, 27, 22, 25, 30, 20, 26]]
    rows += [[round(float(s), 2) for s in rng.lognormal(2.0, 0.5, n)] for n in (5, 6, 17, 40, 64)]
    return [[row, max(start_bound(row), 1.2 * max(row))] for row in rows]


def surprise(past, past_days, n, new_days):
    mean = (past + 0.5) / (past_days / 365 + 0.5 / 300) * new_days / 365
    return float(stats.poisson.sf(n - 1, mean))


week = 35 / 365
seen = [(2.5, 5.0, 8), (5.0, 10.0, 1)]
print(json.dumps({
    "scipy": scipy.__version__,
    "gamma": gamma(),
    "poisson_upper": [[n, float(stats.chi2.ppf(0.95, 2 * (n + 1)) / 2)] for n in range(30)],
    "poisson_quantile": [[m, int(stats.poisson.ppf(0.95, m))] for m in (0.01, 0.05, 0.4, 1.0, 2.5, 7.0, 30.0, 90.0)],
    "poisson_tail": [[p, d, n, e, surprise(p, d, n, e)] for p, d, n, e in
                     [(2, 60, 3, 5), (0, 1, 3, 1), (0, 45, 4, 2), (7, 30, 9, 30), (20, 200, 3, 28), (1, 90, 12, 3)]],
    "clopper_pearson": [[k, n, float(stats.beta.ppf(0.95, k + 1, n - k))] for k, n in
                        [(0, 1000), (3, 1000), (0, 5), (4, 9), (30, 200)]],
    "binomial_tail": [[k, n, p, float(stats.binom.sf(k - 1, n, p))] for k, n, p in
                      [(3, 3, 0.5), (3, 5, 0.1), (8, 10, 0.5), (5, 40, 0.04), (60, 90, 0.5), (1, 7, 0.3), (700, 1300, 0.5), (330, 350, 0.9)]],
    "tolerance_factors": [[n, factor(n)] for n in range(5, 65)],
    "starts": starts(),
    "hazard": [[z, float(np.exp(stats.norm.logpdf(z) - stats.norm.logsf(z)))] for z in (-8, -2, -0.3, 0, 0.7, 3, 6, 12, 30)],
    "prior": tail(1.0, 0.0, 0.0, 0.0, 300.0, (), (2, 5, 10, 24)),
    "quiet_week": tail(1.0, week, 0.0, 0.0, 300.0, (), (10, 14, 20, 24)),
    "busy_week": tail(2.5, week, 5.0, 9.0, 300.0 * 2.5**-1.5, seen, (10, 14, 20, 24, 30)),
}, indent=1))

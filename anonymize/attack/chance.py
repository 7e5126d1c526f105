"""How often chance alone would do as well."""

from __future__ import annotations

import math


def binomial_tail(hits: int, trials: int, probability: float) -> float:
    """P(X ≥ hits) for X ~ Binomial(trials, probability); the normal tail with continuity correction beyond 2,000."""
    if hits <= 0 or trials <= 0:
        return 1.0
    if probability <= 0 or probability >= 1:
        return float(probability >= 1)
    if trials > 2000:
        spread = math.sqrt(trials * probability * (1 - probability))
        return normal_tail((hits - 0.5 - trials * probability) / spread) if spread else 0.0
    log_p, log_q = math.log(probability), math.log1p(-probability)
    terms = (
        math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * log_p + (trials - k) * log_q
        for k in range(hits, trials + 1)
    )
    return min(1.0, math.fsum(math.exp(term) for term in terms))


def normal_tail(z: float) -> float:
    """P(Z ≥ z) for a standard normal Z."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def correlation(x: list[float], y: list[float]) -> float:
    """Pearson's r; 0 where one does not vary."""
    n = len(x)
    if n < 2:
        return 0.0
    mean_x, mean_y = sum(x) / n, sum(y) / n
    top = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    below = math.sqrt(sum((a - mean_x) ** 2 for a in x) * sum((b - mean_y) ** 2 for b in y))
    return top / below if below else 0.0
